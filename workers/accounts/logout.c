/* POST …/logout and …/logout/all, GET …/account/whoami (Client-Server API "Logout", "Current account information"). */
#include "lib/base/base64.h"
#include "proto/dispatch.h"
#include "workers/accounts/device_remove.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/session.h"

/* A token without a device: only that ends. */
static enum fault drop_token(struct call *call)
{
    struct changes changes = changes_in(call);
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_token_drop(batch, call->requester.token_hash);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    TOKENS_DROPPED(&changes, result, token_drop_row, token_drop_next);
    changes_publish(&changes);
    return FAULT_OK;
}

struct reply logout_user(struct call *call)
{
    const struct requester *who = &call->requester;
    enum fault fault = slice_is_absent(who->device_id) ? drop_token(call)
                                                       : devices_remove(call, who->user_id, (struct slices){&who->device_id, 1});
    return fault ? call_fail(call, fault, NULL) : reply_empty();
}

struct reply logout_all(struct call *call)
{
    struct slices devices;
    enum fault fault = devices_except(call, call->requester.user_id, SLICE_ABSENT, &devices);
    if (fault || (fault = devices_remove(call, call->requester.user_id, devices)) || (fault = drop_token(call)))
        return call_fail(call, fault, NULL);
    return reply_empty();
}

struct reply whoami(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "user_id", call->requester.user_id);
    json_put_string(&w, "device_id", call->requester.device_id);
    json_put_bool(&w, "is_guest", call->requester.is_guest);
    json_end_object(&w);
    return reply_json(&w);
}
