/* Reading GET /sync's parameters (Client-Server API "Syncing"). Filters by id never change, so they are kept, by size. */
#include "workers/sync/request.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/lru.h"
#include "lib/store/cluster_epoch.h"
#include "workers/sync/queries.h"

enum { FILTERS_BYTES = 1 << 20, TIMEOUT_MAX_MS = 10 * 60 * 1000 };

static pthread_mutex_t filters_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lru *filters; /* "<user> <id>" → malloc'ed NUL-terminated JSON */

static struct slice filter_known(struct arena *arena, struct slice key)
{
    struct slice room = SLICE_ABSENT;
    char *copy = NULL;
    pthread_mutex_lock(&filters_lock);
    const char *found = filters ? lru_get(filters, key) : NULL;
    if (found)
        copy = strdup(found); /* an arena may not be asked with a lock held */
    pthread_mutex_unlock(&filters_lock);
    if (copy)
        room = arena_copy(arena, slice_from_cstr(copy));
    free(copy);
    return room;
}

static void filter_keep(struct slice key, struct slice definition)
{
    char *copy = strndup(definition.at, definition.len);
    ensure(copy);
    pthread_mutex_lock(&filters_lock);
    if (!filters)
        filters = lru_create(FILTERS_BYTES, free);
    lru_put(filters, key, copy, definition.len + 1);
    pthread_mutex_unlock(&filters_lock);
}

static enum fault filter_by_id(struct call *call, int64_t id, struct slice *out)
{
    struct slice key = arena_printf(call->arena, "%.*s %lld", PRI(call->requester.user_id), (long long)id);
    *out = filter_known(call->arena, key);
    if (!slice_is_absent(*out))
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_filter_definition(batch, call->requester.user_id, id);
    enum fault fault = db_run(batch);
    struct filter_definition_row row;
    if (fault)
        return fault;
    if (!filter_definition_next(result, &row))
        return FAULT_NOT_FOUND;
    filter_keep(key, row.definition);
    *out = row.definition;
    return FAULT_OK;
}

static bool read_filter(struct call *call, struct sync_request *request, struct reply *answer)
{
    struct slice text = request->filter_text;
    const struct json *json = NULL;
    int64_t id;
    if (!slice_is_absent(text) && text.len && text.at[0] != '{') {
        enum fault fault = slice_to_i64(text, &id) ? filter_by_id(call, id, &text) : FAULT_NOT_FOUND;
        if (fault) {
            *answer = fault == FAULT_NOT_FOUND ? call_fail(call, FAULT_INVALID_PARAM, "There is no filter of this id")
                                               : call_fail(call, fault, NULL);
            return false;
        }
    }
    if (text.len && !json_is(json = json_parse(call->arena, text, JSON_LAX, NULL), JSON_OBJECT)) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "The filter is not a JSON object");
        return false;
    }
    if (sync_filter_parse(json, &request->filter)) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "The filter has a member of the wrong type");
        return false;
    }
    return true;
}

static bool presence_is_known(struct slice text)
{
    return slice_eq(text, SLICE("online")) || slice_eq(text, SLICE("offline")) || slice_eq(text, SLICE("unavailable"));
}

bool sync_request_read(struct call *call, struct sync_request *out, struct reply *answer)
{
    struct sync_request request = {.user_id = call->requester.user_id,
                                   .device_id = call->requester.device_id,
                                   .since_text = call_query(call, "since"),
                                   .since = sync_token_none(),
                                   .full_state = call_query_bool(call, "full_state", false),
                                   .filter_text = call_query(call, "filter"),
                                   .set_presence = call_query(call, "set_presence")};
    if (request.since_text.len == 0)
        request.since_text = SLICE_ABSENT;
    request.first = slice_is_absent(request.since_text);
    if (!request.first && !sync_token_parse(call->arena, request.since_text, &request.since)) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "since is not a token of ours");
        return false;
    }
    enum fault fault = cluster_epoch(call, &request.epoch);
    if (fault) {
        *answer = call_fail(call, fault, NULL);
        return false;
    }
    if (!request.first && request.since.epoch != request.epoch) { /* of before a restore: the client starts over */
        request.since = sync_token_none();
        request.since_text = SLICE_ABSENT;
        request.first = true;
    }
    if (!call_query_i64(call, "timeout", &request.timeout_ms)) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "timeout must be a number");
        return false;
    }
    request.timeout_ms = request.timeout_ms < 0 ? 0 : request.timeout_ms > TIMEOUT_MAX_MS ? TIMEOUT_MAX_MS : request.timeout_ms;
    if (!slice_is_absent(request.set_presence) && !presence_is_known(request.set_presence)) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "set_presence must be online, offline or unavailable");
        return false;
    }
    if (call_query_bool(call, "use_state_after", false))
        request.state_after = "state_after";
    else if (call_query_bool(call, "org.matrix.msc4222.use_state_after", false))
        request.state_after = "org.matrix.msc4222.state_after";
    if (!read_filter(call, &request, answer))
        return false;
    *out = request;
    return true;
}
