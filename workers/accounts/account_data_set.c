/* message account_data_set: account data that another kind sets for a user, such as the fully read marker. */
#include "lib/base/json.h"
#include "proto/dispatch.h"
#include "workers/accounts/changes.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/queries.h"

enum fault answer_account_data_set(struct call *call, const struct account_data_set_request *request,
                                   struct account_data_set_reply *reply)
{
    (void)reply;
    struct account_data_set_row row;
    struct slice room_id = slice_is_absent(request->room_id) ? SLICE("") : request->room_id;
    if (!json_is(json_parse(call->arena, request->content, JSON_LAX, NULL), JSON_OBJECT))
        return FAULT_BAD_JSON;
    struct db_batch *batch = call_batch(call);
    struct db_result *result =
        q_account_data_set(batch, request->user_id, room_id, request->type, request->content, ACCOUNT_DATA_MAX);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    if (!account_data_set_next(result, &row))
        return FAULT_TOO_LARGE;
    change_publish(call, STREAM_account_data, request->user_id, row.pos);
    return FAULT_OK;
}
