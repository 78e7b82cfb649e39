/* Places in a timeline; see timeline_token.h. */
#include "lib/store/timeline_token.h"

#include "lib/store/queries.h"

struct slice timeline_token(struct arena *arena, int64_t before_room_pos)
{
    return arena_printf(arena, "t%lld", (long long)before_room_pos);
}

enum fault timeline_token_resolve(struct call *call, int64_t room_nid, struct slice token, int64_t *before)
{
    if (token.len < 2)
        return FAULT_INVALID_PARAM;
    struct slice number = slice_sub(token, 1, token.len);
    if (token.at[0] == 't')
        return slice_to_i64(number, before) ? FAULT_OK : FAULT_INVALID_PARAM;
    if (token.at[0] != 's')
        return FAULT_INVALID_PARAM;
    size_t digits = 0;
    while (digits < number.len && number.at[digits] >= '0' && number.at[digits] <= '9')
        digits++;
    int64_t horizon;
    if (!slice_to_i64(slice_sub(number, 0, digits), &horizon))
        return FAULT_INVALID_PARAM;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_timeline_end_at(batch, room_nid, horizon);
    enum fault fault = db_run(batch);
    struct timeline_end_at_row row;
    if (fault)
        return fault;
    *before = timeline_end_at_next(result, &row) && row.room_pos != DB_NULL_I64 ? row.room_pos + 1 : 1;
    return FAULT_OK;
}
