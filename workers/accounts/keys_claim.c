/* POST …/keys/claim (Client-Server API "End-to-End Encryption"), and the same for other servers: each one-time key is given out
 * once, oldest first; a fallback key when there are none. */
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/accounts/changes.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/remote_keys.h"

enum { CLAIMS_MAX = 20000, CLAIMS_PER_BATCH = 500 };

struct claim {
    struct slice user_id, device_id, algorithm;
    struct slice key_id, key; /* found; absent: none */
    struct db_result *result;
};

/* {user id: {device id: algorithm}} of our users, flat. False: *answer. */
static bool take_claims(struct call *call, struct claim **out, size_t *count, struct reply *answer)
{
    const struct json *wanted = json_get_object(call->json, "one_time_keys");
    size_t most = 0;
    bool good = wanted != NULL;
    if (!call_members_fit(call, call->json, body_timeout_member, answer))
        return false;
    json_each (user, wanted) {
        good = good && json_is(user, JSON_OBJECT);
        json_each (device, user)
            good = good && json_is(device, JSON_STRING) && !slice_has_nul(device->text) && !slice_has_nul(device->key);
        most += user->count;
    }
    if (!good || most > CLAIMS_MAX) {
        *answer = good ? call_fail(call, FAULT_TOO_LARGE, "Too many keys at once")
                       : call_fail(call, FAULT_BAD_JSON, "one_time_keys must give an algorithm for each device of each user");
        return false;
    }
    *out = arena_new_array(call->arena, most + 1, struct claim);
    *count = 0;
    json_each (user, wanted) {
        if (!user_id_is_valid(user->key) || !slice_eq(id_server_name(user->key), server_name()))
            continue;
        json_each (device, user)
            (*out)[(*count)++] = (struct claim){.user_id = user->key, .device_id = device->key, .algorithm = device->text};
    }
    return true;
}

static enum fault claim_one_time(struct call *call, struct claim *claims, size_t count)
{
    struct db_batch *batch = call_batch(call);
    for (size_t i = 0; i < count; i++)
        claims[i].result = q_one_time_key_claim(batch, claims[i].user_id, claims[i].device_id, claims[i].algorithm);
    enum fault fault = db_run(batch);
    struct one_time_key_claim_row row;
    for (size_t i = 0; i < count && !fault; i++) {
        if (!one_time_key_claim_next(claims[i].result, &row))
            continue;
        claims[i].key_id = row.key_id;
        claims[i].key = row.key;
    }
    return fault;
}

/* The user's clients learn by the next sync that the fallback key was used. */
static enum fault claim_fallback(struct call *call, struct claim *claims, size_t count)
{
    struct changes changes = changes_in(call);
    struct db_batch *batch = call_batch(call);
    size_t asked = 0;
    for (size_t i = 0; i < count; i++) {
        claims[i].result = NULL;
        if (!slice_is_absent(claims[i].key))
            continue;
        claims[i].result = q_fallback_key_claim(batch, claims[i].user_id, claims[i].device_id, claims[i].algorithm);
        asked++;
    }
    enum fault fault = asked ? db_run(batch) : FAULT_OK;
    struct fallback_key_claim_row row;
    for (size_t i = 0; i < count && !fault; i++) {
        if (!claims[i].result || !fallback_key_claim_next(claims[i].result, &row))
            continue;
        claims[i].key_id = row.key_id;
        claims[i].key = row.key;
        changes_add(&changes, STREAM_to_device, claims[i].user_id, row.pos);
    }
    changes_publish(&changes);
    return fault;
}

static enum fault claim_all(struct call *call, struct claim *claims, size_t count)
{
    enum fault fault = FAULT_OK;
    for (size_t at = 0; at < count && !fault; at += CLAIMS_PER_BATCH) {
        size_t some = count - at < CLAIMS_PER_BATCH ? count - at : CLAIMS_PER_BATCH;
        fault = claim_one_time(call, claims + at, some);
        if (!fault)
            fault = claim_fallback(call, claims + at, some);
    }
    return fault;
}

/* Members {user id: {device id: {"<algorithm>:<key id>": key}}}; claims of a user stand together. */
static void write_claims(struct call *call, struct json_writer *w, const struct claim *claims, size_t count)
{
    struct slice open = SLICE_ABSENT;
    for (size_t i = 0; i < count; i++) {
        const struct claim *claim = &claims[i];
        if (slice_is_absent(claim->key))
            continue;
        if (slice_is_absent(open) || !slice_eq(open, claim->user_id)) {
            if (!slice_is_absent(open))
                json_end_object(w);
            json_key(w, claim->user_id);
            json_begin_object(w);
            open = claim->user_id;
        }
        json_key(w, claim->device_id);
        json_begin_object(w);
        json_key(w, arena_printf(call->arena, "%.*s:%.*s", PRI(claim->algorithm), PRI(claim->key_id)));
        json_add_raw(w, claim->key);
        json_end_object(w);
    }
    if (!slice_is_absent(open))
        json_end_object(w);
}

/* ---- other servers' users */

static struct slice remote_body(struct call *call, struct slices users, const struct server_group *group)
{
    const struct json *wanted = json_get_object(call->json, "one_time_keys");
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "one_time_keys");
    for (size_t i = 0; i < group->count; i++) {
        json_key(&w, users.at[group->members[i]]);
        json_add_value(&w, json_get(wanted, users.at[group->members[i]]));
    }
    json_end_object(&w);
    json_end_object(&w);
    return json_done(&w);
}

static struct server_group *ask_servers(struct call *call, struct slices *users)
{
    const struct json *wanted = json_get_object(call->json, "one_time_keys");
    struct slice *remote = arena_new_array(call->arena, wanted->count + 1, struct slice);
    size_t count = 0;
    json_each (user, wanted)
        if (user_id_is_valid(user->key) && !slice_eq(id_server_name(user->key), server_name()))
            remote[count++] = user->key;
    *users = (struct slices){remote, count};
    struct server_group *groups = group_by_server(call->arena, *users);
    for (struct server_group *group = groups; group; group = group->next)
        group->ticket = ask_server(call, group->server, "/_matrix/federation/v1/user/keys/claim", remote_body(call, *users, group),
                                   body_timeout_ms(call));
    return groups;
}

/* Adds the server's users to the answer. False: it could not be asked. */
static bool take_answer(struct call *call, struct json_writer *w, struct slices users, const struct server_group *group)
{
    struct fetch_reply reply;
    if (call_bus_wait(call, group->ticket, &reply) != FAULT_OK || reply.status != 200)
        return false;
    const struct json *keys = json_get_object(json_parse(call->arena, reply.body, JSON_LAX, NULL), "one_time_keys");
    if (!keys)
        return false;
    for (size_t i = 0; i < group->count; i++) {
        struct slice user_id = users.at[group->members[i]];
        const struct json *devices = json_get(keys, user_id);
        if (!json_is(devices, JSON_OBJECT) || devices->count == 0)
            continue;
        json_key(w, user_id);
        json_add_value(w, devices);
    }
    return true;
}

struct reply keys_claim(struct call *call)
{
    struct claim *claims;
    struct reply answer;
    struct slices users;
    size_t count, failures = 0;
    if (!take_claims(call, &claims, &count, &answer))
        return answer;
    struct server_group *groups = ask_servers(call, &users);
    enum fault fault = claim_all(call, claims, count);
    if (fault)
        return call_fail(call, fault, NULL);
    struct slice *failed = arena_new_array(call->arena, users.len + 1, struct slice);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "one_time_keys");
    write_claims(call, &w, claims, count);
    for (const struct server_group *group = groups; group; group = group->next)
        if (!take_answer(call, &w, users, group))
            failed[failures++] = group->server;
    json_end_object(&w);
    json_put_object(&w, "failures");
    for (size_t i = 0; i < failures; i++) {
        json_key(&w, failed[i]);
        json_add_raw(&w, SLICE("{\"errcode\":\"M_UNKNOWN\",\"error\":\"The server could not be asked\"}"));
    }
    json_end_object(&w);
    json_end_object(&w);
    return reply_json(&w);
}

/* POST /_matrix/federation/v1/user/keys/claim */
struct reply federation_keys_claim(struct call *call)
{
    struct claim *claims;
    struct reply answer;
    size_t count;
    if (!take_claims(call, &claims, &count, &answer))
        return answer;
    enum fault fault = claim_all(call, claims, count);
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "one_time_keys");
    write_claims(call, &w, claims, count);
    json_end_object(&w);
    json_end_object(&w);
    return reply_json(&w);
}
