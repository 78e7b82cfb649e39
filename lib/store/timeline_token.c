/* Places in a timeline; see timeline_token.h. */
#include "lib/store/timeline_token.h"

#include "lib/store/cluster_epoch.h"
#include "lib/store/queries.h"

enum { NUMBERS_MAX = 300 }; /* more than the sync workers write */

struct slice timeline_token(struct arena *arena, int64_t before_room_pos)
{
    return arena_printf(arena, "t%lld", (long long)before_room_pos);
}

/* A run of digits at *at; false and unmoved when there is none. */
static bool take_number(struct slice token, size_t *at, int64_t *number)
{
    size_t end = *at;
    while (end < token.len && token.at[end] >= '0' && token.at[end] <= '9')
        end++;
    if (!slice_to_i64(slice_sub(token, *at, end - *at), number))
        return false;
    *at = end;
    return true;
}

/* Numbers joined by dots, from *at on. */
static struct i64s take_numbers(struct arena *arena, struct slice token, size_t *at)
{
    int64_t *numbers = arena_new_array(arena, NUMBERS_MAX, int64_t);
    size_t count = 0;
    while (count < NUMBERS_MAX && take_number(token, at, &numbers[count])) {
        count++;
        if (*at >= token.len || token.at[*at] != '.')
            break;
        (*at)++;
    }
    return (struct i64s){numbers, count};
}

/* What a /sync token says of the timeline (workers/sync/README.md, "Token"): s<xmin>[x<xmax>.<running>…]…[_g<epoch>][~<event
 * nid>…]. */
static enum fault resolve_sync_token(struct call *call, int64_t room_nid, struct slice token, int64_t *before)
{
    size_t at = 1;
    int64_t xmin, xmax;
    struct i64s running = take_numbers(call->arena, SLICE(""), &(size_t){0}), delivered = running;
    if (!take_number(token, &at, &xmin))
        return FAULT_INVALID_PARAM;
    xmax = xmin;
    if (at < token.len && token.at[at] == 'x') {
        at++;
        running = take_numbers(call->arena, token, &at);
        if (running.len == 0)
            return FAULT_INVALID_PARAM;
        xmax = running.at[0];
        running = (struct i64s){running.at + 1, running.len - 1};
    }
    const char *mark = memchr(token.at + at, '~', token.len - at);
    if (mark) {
        at = (size_t)(mark - token.at) + 1;
        delivered = take_numbers(call->arena, token, &at);
    }
    int64_t epoch;
    enum fault fault = cluster_epoch(call, &epoch);
    if (fault)
        return fault;
    if (token_epoch(token) != epoch)
        xmin = INT64_MAX; /* of before a restore: it stands behind everything */
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_timeline_end_at(batch, room_nid, xmin, xmax, running, delivered);
    struct timeline_end_at_row row;
    if ((fault = db_run(batch)))
        return fault;
    *before = timeline_end_at_next(result, &row) ? row.room_pos + 1 : 1;
    return FAULT_OK;
}

enum fault timeline_token_resolve(struct call *call, int64_t room_nid, struct slice token, int64_t *before)
{
    if (token.len < 2)
        return FAULT_INVALID_PARAM;
    if (token.at[0] == 't')
        return slice_to_i64(slice_sub(token, 1, token.len), before) ? FAULT_OK : FAULT_INVALID_PARAM;
    return token.at[0] == 's' ? resolve_sync_token(call, room_nid, token, before) : FAULT_INVALID_PARAM;
}
