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
static bool parse_sync_token(struct arena *arena, struct slice token, struct timeline_point *point)
{
    size_t at = 1;
    if (!take_number(token, &at, &point->xmin))
        return false;
    point->xmax = point->xmin;
    if (at < token.len && token.at[at] == 'x') {
        at++;
        struct i64s numbers = take_numbers(arena, token, &at);
        if (numbers.len == 0)
            return false;
        point->xmax = numbers.at[0];
        point->running = (struct i64s){numbers.at + 1, numbers.len - 1};
    }
    const char *mark = memchr(token.at + at, '~', token.len - at);
    if (mark) {
        at = (size_t)(mark - token.at) + 1;
        point->delivered = take_numbers(arena, token, &at);
    }
    return true;
}

bool timeline_token_parse(struct arena *arena, struct slice token, struct timeline_point *out)
{
    struct i64s empty = {arena_new(arena, int64_t), 0}; /* not NULL: that is SQL's NULL */
    struct timeline_point point = {.running = empty, .delivered = empty};
    int64_t place;
    if (token.len < 2 || (token.at[0] != 't' && token.at[0] != 's'))
        return false;
    point.is_place = token.at[0] == 't';
    if (point.is_place && !slice_to_i64(slice_sub(token, 1, token.len), &place))
        return false;
    if (point.is_place)
        point.before = place < TIMELINE_FIRST ? TIMELINE_FIRST : place > TIMELINE_LAST ? TIMELINE_LAST : place;
    else if (!parse_sync_token(arena, token, &point))
        return false;
    *out = point;
    return true;
}

enum fault timeline_token_resolve(struct call *call, int64_t room_nid, struct slice token, int64_t *before)
{
    struct timeline_point point;
    if (!timeline_token_parse(call->arena, token, &point))
        return FAULT_INVALID_PARAM;
    if (point.is_place) {
        *before = point.before;
        return FAULT_OK;
    }
    int64_t epoch;
    enum fault fault = cluster_epoch(call, &epoch);
    if (fault)
        return fault;
    if (token_epoch(token) != epoch)
        point.xmin = INT64_MAX; /* of before a restore: it stands behind everything */
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_timeline_end_at(batch, room_nid, point.xmin, point.xmax, point.running, point.delivered);
    struct timeline_end_at_row row;
    if ((fault = db_run(batch)))
        return fault;
    *before = timeline_end_at_next(result, &row) ? row.room_pos + 1 : 1;
    return FAULT_OK;
}
