/* PUT and GET /presence/{userId}/status (Client-Server API "Presence"). */
#include "proto/dispatch.h"
#include "workers/sync/presence.h"
#include "workers/sync/queries.h"

struct reply set_presence(struct call *call)
{
    enum presence_state state;
    const struct json *status = json_get_cstr(call->json, "status_msg");
    if (!slice_eq(call_param(call, "userId"), call->requester.user_id))
        return call_fail(call, FAULT_FORBIDDEN, "You can set your own presence only");
    if (!presence_state_from(json_get_string(call->json, "presence"), &state))
        return call_fail(call, FAULT_BAD_JSON, "presence must be online, offline or unavailable");
    if (status && !json_is(status, JSON_STRING) && !json_is(status, JSON_NULL))
        return call_fail(call, FAULT_BAD_JSON, "status_msg must be a string");
    if (worker_settings(call->worker)->presence)
        presence_set(call, call->requester.user_id, state, json_string(status));
    return reply_empty();
}

struct reply presence(struct call *call)
{
    struct slice user_id = call_param(call, "userId");
    struct db_batch *batch = call_batch(call);
    struct db_result *sharing = q_sharing_of(batch, call->requester.user_id, (struct slices){&user_id, 1});
    struct sharing_of_row row;
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    if (!sharing_of_next(sharing, &row))
        return call_fail(call, FAULT_FORBIDDEN, "You share no room with this user");
    struct slice content = presence_content(call->arena, user_id);
    return reply_raw_json(slice_is_absent(content) ? SLICE("{\"presence\":\"offline\"}") : content);
}
