/* GET …/keys/changes (Client-Server API "End-to-End Encryption"): whose devices changed between two sync tokens. */
#include "proto/dispatch.h"
#include "workers/accounts/queries.h"

/* A sync token starts with 's' and its horizon (DESIGN §8). */
static bool token_position(struct slice token, int64_t *position)
{
    size_t digits = 1;
    while (digits < token.len && token.at[digits] >= '0' && token.at[digits] <= '9')
        digits++;
    return token.len > 1 && token.at[0] == 's' && slice_to_i64(slice_sub(token, 1, digits - 1), position);
}

struct reply keys_changes(struct call *call)
{
    int64_t from, to = INT64_MAX;
    struct slice from_token = call_query(call, "from"), to_token = call_query(call, "to");
    if (slice_is_absent(from_token))
        return call_fail(call, FAULT_MISSING_PARAM, "from is missing");
    if (!token_position(from_token, &from) || (!slice_is_absent(to_token) && !token_position(to_token, &to)))
        return call_fail(call, FAULT_INVALID_PARAM, "from and to must be tokens of /sync");
    struct db_batch *batch = call_batch(call);
    struct db_result *changed = q_list_changes(batch, call->requester.user_id, from, to);
    struct db_result *gone = q_list_departures(batch, call->requester.user_id, from, to);
    enum fault fault = db_run(batch);
    struct list_changes_row change;
    struct list_departures_row departure;
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_array(&w, "changed");
    while (list_changes_next(changed, &change))
        json_add_string(&w, change.changed);
    json_end_array(&w);
    json_put_array(&w, "left");
    while (list_departures_next(gone, &departure))
        json_add_string(&w, departure.gone);
    json_end_array(&w);
    json_end_object(&w);
    return reply_json(&w);
}
