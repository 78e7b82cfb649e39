/* A call as its handler sees it: what the request says, the database, parking, and who we are. */
#include "lib/kit/call.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/kit/worker_internal.h"

static char own_server_name[256];

struct slice server_name(void)
{
    return slice_from_cstr(own_server_name);
}

void call_server_name_set(const char *name)
{
    ensure(strlen(name) < sizeof own_server_name);
    snprintf(own_server_name, sizeof own_server_name, "%s", name);
}

/* ---- trace ids: 16 bytes on the wire, hex for people */

void trace_make(uint8_t out[16])
{
    ensure(getrandom(out, 16, 0) == 16);
}

void trace_to_hex(const uint8_t trace[16], char out[33])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        out[2 * i] = digits[trace[i] >> 4];
        out[2 * i + 1] = digits[trace[i] & 15];
    }
    out[32] = '\0';
}

static uint8_t hex_value(char c)
{
    return (uint8_t)(c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0);
}

void trace_from_hex(const char *hex, uint8_t out[16])
{
    for (int i = 0; i < 16; i++)
        out[i] = (uint8_t)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
}

void call_init(struct call_state *state, struct worker *worker, struct arena *arena, int64_t deadline_ms)
{
    memset(&state->call, 0, sizeof state->call);
    state->call.arena = arena;
    state->call.worker = worker;
    state->call.deadline_ms = deadline_ms;
    state->topics = NULL;
    state->topic_count = 0;
}

/* ---- what the request says */

struct slice call_param(const struct call *call, const char *name)
{
    int index = route_param_index(call->route, name);
    return index >= 0 ? call->params[index] : SLICE_ABSENT; /* routes with and without {stateKey} share a handler */
}

static struct slice form_decode(struct arena *arena, struct slice text)
{
    return text.len ? percent_decode(arena, text, true) : SLICE("");
}

bool call_query_is_text(const struct call *call)
{
    struct slice query = call->http->query;
    if (slice_is_absent(query))
        return true;
    struct slice decoded = form_decode(call->arena, query);
    return utf8_is_valid(decoded) && !slice_has_nul(decoded);
}

/* The next "name=value" of the query; false at its end. */
static bool next_pair(struct slice *rest, struct slice *name, struct slice *value)
{
    while (rest->len) {
        struct slice pair = *rest, tail = SLICE("");
        slice_cut(*rest, '&', &pair, &tail);
        *rest = tail;
        *name = pair;
        *value = SLICE("");
        slice_cut(pair, '=', name, value);
        if (pair.len)
            return true;
    }
    return false;
}

static bool name_is(struct arena *arena, struct slice encoded, struct slice name)
{
    return slice_eq(encoded, name) || (memchr(encoded.at, '%', encoded.len) && slice_eq(form_decode(arena, encoded), name));
}

struct slice call_query(const struct call *call, const char *name)
{
    struct slice rest = call->http ? call->http->query : SLICE_ABSENT, key, value, wanted = slice_from_cstr(name);
    while (next_pair(&rest, &key, &value)) {
        if (name_is(call->arena, key, wanted))
            return form_decode(call->arena, value);
    }
    return SLICE_ABSENT;
}

struct slices call_query_all(const struct call *call, const char *name)
{
    struct slice query = call->http ? call->http->query : SLICE_ABSENT, rest = query, key, value, wanted = slice_from_cstr(name);
    size_t count = 0;
    while (next_pair(&rest, &key, &value))
        count += name_is(call->arena, key, wanted);
    struct slice *all = arena_new_array(call->arena, count, struct slice);
    count = 0;
    rest = query;
    while (next_pair(&rest, &key, &value)) {
        if (name_is(call->arena, key, wanted))
            all[count++] = form_decode(call->arena, value);
    }
    return (struct slices){all, count};
}

bool call_query_i64(const struct call *call, const char *name, int64_t *out)
{
    struct slice text = call_query(call, name);
    return slice_is_absent(text) || slice_to_i64(text, out);
}

bool call_query_bool(const struct call *call, const char *name, bool otherwise)
{
    struct slice text = call_query(call, name);
    if (slice_eq(text, SLICE("true")))
        return true;
    return slice_eq(text, SLICE("false")) ? false : otherwise;
}

bool call_members_fit(struct call *call, const struct json *object, const struct body_member *members, struct reply *answer)
{
    for (size_t i = 0; members[i].key; i++) {
        const struct json *value = json_get_cstr(object, members[i].key);
        if (!value || json_is(value, members[i].type) || json_is(value, JSON_NULL))
            continue;
        *answer = call_failf(call, FAULT_BAD_JSON, "%s has the wrong type", members[i].key);
        return false;
    }
    return true;
}

/* ---- the database */

struct db_batch *call_batch(struct call *call)
{
    ensure(call->worker->db);
    return db_batch(call->worker->db, call->arena, call->deadline_ms);
}

struct db_batch *call_transaction(struct call *call)
{
    ensure(call->worker->db);
    return db_transaction(call->worker->db, call->arena, call->deadline_ms);
}

/* ---- parking */

struct reply call_park(struct call *call, const struct slice *topics, size_t count, int64_t until_ms)
{
    struct call_state *state = call_state_of(call);
    state->topics = topics;
    state->topic_count = count;
    state->park_until_ms = until_ms;
    return (struct reply){.park = true};
}
