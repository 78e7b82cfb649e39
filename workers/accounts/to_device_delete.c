/* message to_device_delete: a device came back to sync with a token that covers these messages, so it has them. */
#include "proto/dispatch.h"
#include "workers/accounts/queries.h"

enum fault answer_to_device_delete(struct call *call, const struct to_device_delete_request *request,
                                   struct to_device_delete_reply *reply)
{
    (void)reply;
    struct db_batch *batch = call_batch(call);
    q_to_device_delete(batch, request->user_id, request->device_id, request->up_to_seq, request->below_pos);
    return db_run(batch);
}
