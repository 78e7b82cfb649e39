/* message device_seen: a device is at work. The row is touched when the last sight is ten minutes old, whoever tells. */
#include "proto/dispatch.h"
#include "workers/accounts/queries.h"

enum { AGAIN_MS = 10 * 60 * 1000 };

enum fault answer_device_seen(struct call *call, const struct device_seen_request *request, struct device_seen_reply *reply)
{
    (void)reply;
    struct db_batch *batch = call_batch(call);
    q_device_seen(batch, request->user_id, request->device_id, request->seen_ts, request->address, request->user_agent,
                  request->seen_ts - AGAIN_MS);
    return db_run(batch);
}
