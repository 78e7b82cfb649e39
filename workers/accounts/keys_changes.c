/* GET …/keys/changes (Client-Server API "End-to-End Encryption"): whose devices changed between two sync tokens. */
#include "lib/store/cluster_epoch.h"
#include "proto/dispatch.h"
#include "workers/accounts/queries.h"

static bool take_number(struct slice *rest, int64_t *out)
{
    size_t digits = 0;
    while (digits < rest->len && rest->at[digits] >= '0' && rest->at[digits] <= '9')
        digits++;
    bool good = digits && slice_to_i64(slice_sub(*rest, 0, digits), out);
    *rest = slice_sub(*rest, digits, rest->len);
    return good;
}

/* A sync token starts with the snapshot that its client has seen: "s<xmin>[x<xmax>…": all below xmin, nothing from xmax on. What
 * lies between is told rather twice than never. */
static bool token_snapshot(struct slice token, int64_t *xmin, int64_t *xmax)
{
    struct slice rest = slice_sub(token, 1, token.len);
    if (token.len < 2 || token.at[0] != 's' || !take_number(&rest, xmin))
        return false;
    *xmax = *xmin;
    if (rest.len == 0 || rest.at[0] != 'x')
        return true;
    rest = slice_sub(rest, 1, rest.len);
    return take_number(&rest, xmax);
}

struct reply keys_changes(struct call *call)
{
    int64_t from, to = INT64_MAX, ignored;
    struct slice from_token = call_query(call, "from"), to_token = call_query(call, "to");
    if (slice_is_absent(from_token))
        return call_fail(call, FAULT_MISSING_PARAM, "from is missing");
    if (!token_snapshot(from_token, &from, &ignored) || (!slice_is_absent(to_token) && !token_snapshot(to_token, &ignored, &to)))
        return call_fail(call, FAULT_INVALID_PARAM, "from and to must be tokens of /sync");
    int64_t epoch;
    enum fault fault = cluster_epoch(call, &epoch);
    if (fault)
        return call_fail(call, fault, NULL);
    if (token_epoch(from_token) != epoch)
        from = 0; /* of before a restore: anybody may have changed */
    if (!slice_is_absent(to_token) && token_epoch(to_token) != epoch)
        to = INT64_MAX;
    struct db_batch *batch = call_batch(call);
    struct db_result *changed = q_list_changes(batch, call->requester.user_id, from, to);
    struct db_result *gone = q_list_departures(batch, call->requester.user_id, from, to);
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
