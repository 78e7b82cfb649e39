/* PUT and DELETE …/profile/{userId}/{keyName} (Client-Server API "Profiles"). */
#include "proto/dispatch.h"
#include "workers/accounts/changes.h"
#include "workers/accounts/profile_fields.h"
#include "workers/accounts/profile_spread.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/refuse.h"

/* False: *answer. */
static bool check_access(struct call *call, struct slice name, struct reply *answer)
{
    if (!slice_eq(call_param(call, "userId"), call->requester.user_id))
        *answer = call_fail(call, FAULT_FORBIDDEN, "You may only change your own profile");
    else if (call->requester.is_guest && !slice_eq(name, SLICE("displayname")))
        *answer = call_fail(call, FAULT_GUEST_FORBIDDEN, "Guests may only change their display name");
    else if (call->requester.is_suspended)
        *answer = call_fail(call, FAULT_USER_SUSPENDED, NULL);
    else if (name.len > FIELD_NAME_BYTES_MAX)
        *answer = refuse(call, 400, "M_KEY_TOO_LARGE", "The profile key is longer than 255 bytes");
    else if (!profile_field_is_valid(name))
        *answer = call_fail(call, FAULT_INVALID_PARAM, "Invalid profile key");
    else
        return true;
    return false;
}

static struct reply changed(struct call *call, struct slice name, int64_t pos)
{
    struct slice user_id = call->requester.user_id;
    if (pos)
        change_publish(call, STREAM_profile, user_id, pos);
    enum fault fault = profile_field_is_in_rooms(name) ? profile_spread(call, user_id) : FAULT_OK;
    return fault ? call_fail(call, fault, NULL) : reply_empty();
}

static struct reply drop(struct call *call, struct slice name)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_profile_delete(batch, call->requester.user_id, name);
    enum fault fault = db_run(batch);
    struct profile_delete_row row = {0};
    if (fault)
        return call_fail(call, fault, NULL);
    profile_delete_next(result, &row);
    return changed(call, name, row.pos);
}

struct reply set_profile_field(struct call *call)
{
    struct slice name = call_param(call, "keyName");
    struct reply answer;
    struct profile_set_row row;
    if (!check_access(call, name, &answer))
        return answer;
    const struct json *value = json_get(call->json, name);
    if (!value)
        return call_failf(call, FAULT_MISSING_PARAM, "The body has no %.*s", PRI(name));
    const char *problem = profile_value_problem(name, value);
    if (problem)
        return call_fail(call, json_is(value, JSON_STRING) ? FAULT_INVALID_PARAM : FAULT_BAD_JSON, problem);
    bool is_empty = json_is(value, JSON_NULL) || (json_is(value, JSON_STRING) && value->text.len == 0);
    if (is_empty && profile_field_is_in_rooms(name))
        return drop(call, name);
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_profile_set(batch, call->requester.user_id, name, value->span, PROFILE_BYTES_MAX);
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    if (!profile_set_next(result, &row))
        return refuse(call, 400, "M_PROFILE_TOO_LARGE", "A profile may have 64 KiB at most");
    return changed(call, name, row.pos);
}

struct reply delete_profile_field(struct call *call)
{
    struct slice name = call_param(call, "keyName");
    struct reply answer;
    return check_access(call, name, &answer) ? drop(call, name) : answer;
}
