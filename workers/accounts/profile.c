/* Reading profiles (Client-Server API "Profiles", Server-Server API "Querying for information"): ours from the table, others from
 * their server. */
#include "lib/base/uri.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/accounts/profile_fields.h"
#include "workers/accounts/queries.h"

/* {field: value, …} of a user of ours; with a name only that field. NOT_FOUND: no such user. *any: a field was written. */
static enum fault local_profile(struct call *call, struct slice user_id, struct slice name, struct slice *json, bool *any)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_profile_of(batch, user_id);
    enum fault fault = db_run(batch);
    struct profile_of_row row;
    bool found = false;
    *any = false;
    if (fault)
        return fault;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    while (profile_of_next(result, &row)) {
        found = true;
        if (slice_is_absent(row.field) || (!slice_is_absent(name) && !slice_eq(row.field, name)))
            continue;
        json_key(&w, row.field);
        json_add_raw(&w, row.value);
        *any = true;
    }
    json_end_object(&w);
    *json = json_done(&w);
    return found ? FAULT_OK : FAULT_NOT_FOUND;
}

static struct slice query_uri(struct call *call, struct slice user_id, struct slice name)
{
    struct slice uri =
        arena_printf(call->arena, "/_matrix/federation/v1/query/profile?user_id=%.*s", PRI(uri_encode(call->arena, user_id)));
    if (slice_is_absent(name))
        return uri;
    return arena_printf(call->arena, "%.*s&field=%.*s", PRI(uri), PRI(uri_encode(call->arena, name)));
}

static struct reply remote_profile(struct call *call, struct slice user_id, struct slice name)
{
    struct fetch_request request = {.destination = id_server_name(user_id),
                                    .method = SLICE("GET"),
                                    .uri = query_uri(call, user_id, name),
                                    .sign = true,
                                    .size_max = 2 * PROFILE_BYTES_MAX};
    struct fetch_reply reply;
    enum fault fault = call_fetch(call, request.destination, &request, &reply);
    if (fault)
        return call_fail(call, fault, "The user's server could not be asked");
    if (reply.status == 404)
        return call_fail(call, FAULT_NOT_FOUND, "No such profile");
    if (reply.status != 200)
        return call_fail_peer(call, reply.status, reply.body);
    const struct json *profile = json_parse(call->arena, reply.body, JSON_LAX, NULL);
    if (!json_is(profile, JSON_OBJECT))
        return call_fail(call, FAULT_PEER, "The user's server did not answer with an object");
    if (slice_is_absent(name))
        return reply_raw_json(profile->span);
    const struct json *value = json_get(profile, name);
    if (!value || json_is(value, JSON_NULL))
        return call_fail(call, FAULT_NOT_FOUND, "The profile has no such field");
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_key(&w, name);
    json_add_value(&w, value);
    json_end_object(&w);
    return reply_json(&w);
}

static struct reply read_profile(struct call *call, struct slice user_id, struct slice name)
{
    struct slice json;
    bool any;
    if (!user_id_is_valid(user_id))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not a user id");
    if (!slice_eq(id_server_name(user_id), server_name()))
        return remote_profile(call, user_id, name);
    enum fault fault = local_profile(call, user_id, name, &json, &any);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such user");
    if (fault)
        return call_fail(call, fault, NULL);
    if (!any && !slice_is_absent(name))
        return call_fail(call, FAULT_NOT_FOUND, "The profile has no such field");
    return reply_raw_json(json);
}

struct reply profile(struct call *call)
{
    return read_profile(call, call_param(call, "userId"), SLICE_ABSENT);
}

struct reply profile_field(struct call *call)
{
    struct slice name = call_param(call, "keyName");
    if (name.len > FIELD_NAME_BYTES_MAX || !profile_field_is_valid(name))
        return call_fail(call, FAULT_INVALID_PARAM, "Invalid profile key");
    return read_profile(call, call_param(call, "userId"), name);
}

/* GET /_matrix/federation/v1/query/profile: a field that is not set is left out. */
struct reply query_profile(struct call *call)
{
    struct slice user_id = call_query(call, "user_id"), json;
    bool any;
    if (!user_id_is_valid(user_id) || !slice_eq(id_server_name(user_id), server_name()))
        return call_fail(call, FAULT_INVALID_PARAM, "user_id is not a user of ours");
    enum fault fault = local_profile(call, user_id, call_query(call, "field"), &json, &any);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such user");
    return fault ? call_fail(call, fault, NULL) : reply_raw_json(json);
}
