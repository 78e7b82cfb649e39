/* GET …/keys/changes (Client-Server API "End-to-End Encryption"): whose devices changed between two sync tokens. */
#include "lib/store/cluster_epoch.h"
#include "lib/store/timeline_token.h"
#include "proto/dispatch.h"
#include "workers/accounts/queries.h"

/* What lies between below-which-all and from-which-nothing was seen is told rather twice than never. */
static bool token_snapshot(struct call *call, struct slice token, struct timeline_point *point)
{
    return timeline_token_parse(call->arena, token, point) && !point->is_place;
}

struct reply keys_changes(struct call *call)
{
    struct timeline_point from, to = {.xmax = INT64_MAX};
    struct slice from_token = call_query(call, "from"), to_token = call_query(call, "to");
    if (slice_is_absent(from_token))
        return call_fail(call, FAULT_MISSING_PARAM, "from is missing");
    if (!token_snapshot(call, from_token, &from) || (!slice_is_absent(to_token) && !token_snapshot(call, to_token, &to)))
        return call_fail(call, FAULT_INVALID_PARAM, "from and to must be tokens of /sync");
    int64_t epoch;
    enum fault fault = cluster_epoch(call, &epoch);
    if (fault)
        return call_fail(call, fault, NULL);
    if (token_epoch(from_token) != epoch)
        from.xmin = 0; /* of before a restore: anybody may have changed */
    if (!slice_is_absent(to_token) && token_epoch(to_token) != epoch)
        to.xmax = INT64_MAX;
    struct db_batch *batch = call_batch(call);
    struct db_result *changed = q_list_changes(batch, call->requester.user_id, from.xmin, to.xmax);
    struct db_result *gone = q_list_departures(batch, call->requester.user_id, from.xmin, to.xmax);
    struct list_changes_row change;
    struct list_departures_row departure;
    if ((fault = db_run(batch)))
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
