/* Vouching for others' keys (Server-Server API "Querying Keys Through Another Server"): a server's own signed answer with our
 * signature added. What we have is passed on while it is young; a server that does not answer any more is vouched for with its last
 * answer. */
#include "lib/base/clock.h"
#include "lib/base/map.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "workers/keys/key_fetch.h"
#include "workers/keys/own_keys.h"

enum { SERVERS_MAX = 100 };

/* "Intermediate notary servers should cache a response for half of its lifetime." */
static bool is_young(const struct key_record *record, int64_t minimum_ts, int64_t now_ms)
{
    return !slice_is_absent(record->answer) && record->valid_until_ts >= minimum_ts &&
           now_ms < record->fetched_ts + (record->valid_until_ts - record->fetched_ts) / 2;
}

/* The answers for `servers` (each wanted until minimum_ts[i]), those that are to be had. */
static struct reply vouch(struct call *call, const struct slice *servers, const int64_t *minimum_ts, size_t count)
{
    struct slice *to_ask = arena_new_array(call->arena, count, struct slice), json;
    size_t ask_count = 0;
    int64_t now_ms = clock_wall_ms();
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(servers[i], server_name()))
            continue;
        const struct key_record *record = key_record_get(call, servers[i]);
        if (!is_young(record, minimum_ts[i], now_ms) && (!record->asked_ms || key_record_may_ask(record, now_ms)))
            to_ask[ask_count++] = servers[i];
    }
    if (ask_count)
        keys_fetch(call, FETCH_TO_VOUCH, (struct slices){to_ask, ask_count});
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_array(&w, "server_keys");
    for (size_t i = 0; i < count; i++) {
        bool is_us = slice_eq(servers[i], server_name());
        struct slice answer = is_us ? SLICE_ABSENT : key_record_get(call, servers[i])->answer;
        if (!is_us && slice_is_absent(answer))
            continue;
        enum fault fault = is_us ? own_keys_answer(call, &json) : own_keys_sign(call, answer, &json);
        if (fault)
            return call_fail(call, fault, NULL);
        json_add_raw(&w, json);
    }
    json_end_array(&w);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply query_server_keys(struct call *call)
{
    struct slice server = call_param(call, "serverName");
    int64_t minimum_ts = clock_wall_ms();
    if (!server_name_is_valid(server))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not a server name");
    if (!call_query_i64(call, "minimum_valid_until_ts", &minimum_ts))
        return call_fail(call, FAULT_INVALID_PARAM, "minimum_valid_until_ts must be a number");
    return vouch(call, &server, &minimum_ts, 1);
}

/* The latest time that any of a server's criteria asks for. False: malformed. */
static bool read_criteria(const struct json *criteria, int64_t *minimum_ts)
{
    if (criteria->type != JSON_OBJECT)
        return false;
    *minimum_ts = 0;
    json_each (criterion, criteria) {
        const struct json *wanted = json_get_cstr(criterion, "minimum_valid_until_ts");
        if (criterion->type != JSON_OBJECT || (wanted && wanted->type != JSON_INT))
            return false;
        int64_t ts = wanted ? wanted->integer : clock_wall_ms();
        if (ts > *minimum_ts)
            *minimum_ts = ts;
    }
    if (criteria->count == 0)
        *minimum_ts = clock_wall_ms();
    return true;
}

struct reply query_keys_batch(struct call *call)
{
    const struct json *wanted = json_get_object(call->json, "server_keys");
    if (!wanted)
        return call_fail(call, FAULT_BAD_JSON, "server_keys must be an object");
    struct slice *servers = arena_new_array(call->arena, SERVERS_MAX, struct slice);
    int64_t *minimum_ts = arena_new_array(call->arena, SERVERS_MAX, int64_t);
    size_t count = 0;
    json_each (criteria, wanted) {
        if (count == SERVERS_MAX)
            break; /* the rest is left out, as if it could not be reached: the asker asks again */
        if (!read_criteria(criteria, &minimum_ts[count]))
            return call_fail(call, FAULT_BAD_JSON, "server_keys: an object of key ids with minimum_valid_until_ts");
        if (server_name_is_valid(criteria->key))
            servers[count++] = criteria->key;
    }
    return vouch(call, servers, minimum_ts, count);
}
