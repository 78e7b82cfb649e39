/* POST and GET …/user/{userId}/filter (Client-Server API "Filtering"). A filter never changes; equal ones share an id. */
#include "proto/dispatch.h"
#include "workers/accounts/filter_check.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/random_names.h"

enum { FILTERS_MAX = 1000, RACES_MAX = 5 };

/* Two devices may take the same next number: the loser takes the one after. */
static enum fault store(struct call *call, struct slice definition, int64_t *filter_id)
{
    for (int race = 0;; race++) {
        struct filter_put_row row;
        struct db_batch *batch = call_batch(call);
        struct db_result *result =
            q_filter_put(batch, call->requester.user_id, definition, token_hash(call->arena, definition), FILTERS_MAX);
        enum fault fault = db_run(batch);
        if (fault == FAULT_CONFLICT && race < RACES_MAX)
            continue;
        if (fault)
            return fault;
        if (!filter_put_next(result, &row))
            return FAULT_LIMIT_EXCEEDED;
        *filter_id = row.filter_id;
        return FAULT_OK;
    }
}

struct reply define_filter(struct call *call)
{
    int64_t filter_id;
    if (!slice_eq(call_param(call, "userId"), call->requester.user_id))
        return call_fail(call, FAULT_FORBIDDEN, "You may only define filters of your own");
    const char *problem = filter_problem(call->json);
    if (problem)
        return call_fail(call, FAULT_BAD_JSON, problem);
    enum fault fault = store(call, json_canonical(call->arena, call->json, NULL), &filter_id);
    if (fault)
        return call_fail(call, fault, fault == FAULT_LIMIT_EXCEEDED ? "You have too many filters" : NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "filter_id", arena_printf(call->arena, "%lld", (long long)filter_id));
    json_end_object(&w);
    return reply_json(&w);
}

struct reply filter(struct call *call)
{
    int64_t filter_id;
    struct filter_find_row row;
    if (!slice_eq(call_param(call, "userId"), call->requester.user_id))
        return call_fail(call, FAULT_FORBIDDEN, "You may only see filters of your own");
    if (!slice_to_i64(call_param(call, "filterId"), &filter_id))
        return call_fail(call, FAULT_NOT_FOUND, "No such filter");
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_filter_find(batch, call->requester.user_id, filter_id);
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    return filter_find_next(result, &row) ? reply_raw_json(row.definition) : call_fail(call, FAULT_NOT_FOUND, "No such filter");
}
