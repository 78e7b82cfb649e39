/* POST …/keys/query (Client-Server API "End-to-End Encryption"), and the same for other servers. */
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/remote_keys.h"

enum { USERS_MAX = 10000 };

struct query {
    const struct json *wanted; /* {user id: [device ids]} */
    struct slices local, remote;
};

/* False: *answer. Users whose id is none are left out, as unknown ones are. */
static bool take_query(struct call *call, struct query *query, struct reply *answer)
{
    *query = (struct query){.wanted = json_get_object(call->json, "device_keys")};
    if (!call_members_fit(call, call->json, body_timeout_member, answer))
        return false;
    if (!query->wanted) {
        *answer = call_fail(call, FAULT_BAD_JSON, "device_keys must be an object");
        return false;
    }
    if (query->wanted->count > USERS_MAX) {
        *answer = call_fail(call, FAULT_TOO_LARGE, "Too many users at once");
        return false;
    }
    struct slice *local = arena_new_array(call->arena, query->wanted->count + 1, struct slice);
    struct slice *remote = arena_new_array(call->arena, query->wanted->count + 1, struct slice);
    json_each (user, query->wanted) {
        json_each (device, user)
            if (!json_is(device, JSON_STRING) || !json_is(user, JSON_ARRAY)) {
                *answer = call_fail(call, FAULT_BAD_JSON, "device_keys must give a list of device ids for each user");
                return false;
            }
        if (!json_is(user, JSON_ARRAY)) {
            *answer = call_fail(call, FAULT_BAD_JSON, "device_keys must give a list of device ids for each user");
            return false;
        }
        if (!user_id_is_valid(user->key))
            continue;
        if (slice_eq(id_server_name(user->key), server_name()))
            local[query->local.len++] = user->key;
        else
            remote[query->remote.len++] = user->key;
    }
    query->local.at = local;
    query->remote.at = remote;
    return true;
}

static void write_devices(struct json_writer *w, struct key_set *set, const struct query *query, struct slices users)
{
    for (size_t i = 0; i < users.len; i++) {
        json_key(w, users.at[i]);
        key_set_write_devices(set, w, users.at[i], json_get(query->wanted, users.at[i]));
    }
}

static void write_cross_signing(struct json_writer *w, struct key_set *set, const char *member, const char *usage,
                                const struct slices *users, size_t lists)
{
    json_put_object(w, member);
    for (size_t list = 0; list < lists; list++)
        for (size_t i = 0; i < users[list].len; i++) {
            struct slice key = key_set_cross_signing(set, users[list].at[i], usage);
            if (slice_is_absent(key))
                continue;
            json_key(w, users[list].at[i]);
            json_add_raw(w, key);
        }
    json_end_object(w);
}

struct reply keys_query(struct call *call)
{
    struct query query;
    struct reply answer;
    struct key_set *set;
    struct slices failed;
    if (!take_query(call, &query, &answer))
        return answer;
    struct slice *everyone = arena_new_array(call->arena, query.local.len + query.remote.len + 1, struct slice);
    memcpy(everyone, query.local.at, query.local.len * sizeof *everyone);
    memcpy(everyone + query.local.len, query.remote.at, query.remote.len * sizeof *everyone);
    struct slices all = {everyone, query.local.len + query.remote.len};
    struct slice me = call->requester.user_id;
    enum fault fault = key_set_load(call, all, me, &set);
    if (fault || (fault = remote_keys_refresh(call, set, query.remote, body_timeout_ms(call), &failed)))
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "device_keys");
    write_devices(&w, set, &query, query.local);
    for (size_t i = 0; i < query.remote.len; i++) /* users that their server does not know are left out */
        if (key_set_devices(set, query.remote.at[i]))
            write_devices(&w, set, &query, (struct slices){&query.remote.at[i], 1});
    json_end_object(&w);
    write_cross_signing(&w, set, "master_keys", "master", &all, 1);
    write_cross_signing(&w, set, "self_signing_keys", "self_signing", &all, 1);
    struct slices own = {&me, json_get(query.wanted, me) ? 1 : 0};
    write_cross_signing(&w, set, "user_signing_keys", "user_signing", &own, 1);
    json_put_object(&w, "failures");
    for (size_t i = 0; i < failed.len; i++) {
        json_key(&w, failed.at[i]);
        json_add_raw(&w, SLICE("{\"errcode\":\"M_UNKNOWN\",\"error\":\"The server could not be asked\"}"));
    }
    json_end_object(&w);
    json_end_object(&w);
    return reply_json(&w);
}

/* POST /_matrix/federation/v1/user/keys/query: users of ours only. */
struct reply federation_keys_query(struct call *call)
{
    struct query query;
    struct reply answer;
    struct key_set *set;
    if (!take_query(call, &query, &answer))
        return answer;
    enum fault fault = key_set_load(call, query.local, SLICE_ABSENT, &set);
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "device_keys");
    write_devices(&w, set, &query, query.local);
    json_end_object(&w);
    write_cross_signing(&w, set, "master_keys", "master", &query.local, 1);
    write_cross_signing(&w, set, "self_signing_keys", "self_signing", &query.local, 1);
    json_end_object(&w);
    return reply_json(&w);
}

/* GET /_matrix/federation/v1/user/devices/{userId} (Server-Server API "Device Management") */
struct reply federation_user_devices(struct call *call)
{
    struct slice user_id = call_param(call, "userId");
    struct key_set *set;
    struct device_list_stream_id_row stream = {.stream_id = 0};
    struct accounts_find_row account;
    if (!user_id_is_valid(user_id) || !slice_eq(id_server_name(user_id), server_name()))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not a user of ours");
    struct slices users = {&user_id, 1};
    struct db_batch *batch = call_batch(call);
    /* Read before the keys: a change in between makes the list newer than its number, never older. */
    struct db_result *number = q_device_list_stream_id(batch, user_id), *accounts = q_accounts_find(batch, users);
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    if (!accounts_find_next(accounts, &account))
        return call_fail(call, FAULT_NOT_FOUND, "No such user");
    device_list_stream_id_next(number, &stream);
    if ((fault = key_set_load(call, users, SLICE_ABSENT, &set)))
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "user_id", user_id);
    json_put_i64(&w, "stream_id", stream.stream_id);
    json_put_array(&w, "devices");
    for (const struct key_device *device = key_set_devices(set, user_id); device; device = device->next) {
        json_begin_object(&w);
        json_put_string(&w, "device_id", device->device_id);
        json_put_raw(&w, "keys", key_set_device(set, user_id, device->device_id));
        json_put_string(&w, "device_display_name", device->display_name);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_put_raw(&w, "master_key", key_set_cross_signing(set, user_id, "master"));
    json_put_raw(&w, "self_signing_key", key_set_cross_signing(set, user_id, "self_signing"));
    json_end_object(&w);
    return reply_json(&w);
}
