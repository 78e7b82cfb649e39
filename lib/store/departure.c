/* Going from a room; see departure.h. */
#include "lib/store/departure.h"

#include "lib/store/state_snapshot.h"

enum { STEPS_MAX = 16 }; /* membership events looked back at; each costs a trip, and one is the rule */

static struct slice membership_of(struct call *call, const struct event_row *row)
{
    return json_get_string(json_get_object(json_parse(call->arena, row->json, JSON_LAX, NULL), "content"), "membership");
}

enum fault departure_find(struct call *call, int64_t last_nid, struct event_row *out)
{
    struct event_row later = {.event_nid = 0};
    for (int64_t step = 0, nid = last_nid; step < STEPS_MAX && nid != DB_NULL_I64; step++) {
        struct event_rows rows;
        enum fault fault = event_rows_by_nid(call, (struct i64s){&nid, 1}, &rows);
        if (fault)
            return fault;
        if (rows.count == 0)
            break;
        if (slice_eq(membership_of(call, rows.at), SLICE("join"))) {
            if (later.event_nid == 0 || later.room_pos == DB_NULL_I64 || later.snapshot_nid == 0)
                break; /* still in; or an end that came without the room around it */
            *out = later;
            return FAULT_OK;
        }
        later = rows.at[0];
        nid = later.replaces_nid;
    }
    return FAULT_NOT_FOUND;
}

enum fault departure_state(struct call *call, const struct event_row *departure, struct i64s *nids)
{
    struct state_map state;
    enum fault fault = state_snapshot_load(call, departure->snapshot_nid, &state);
    if (fault)
        return fault;
    int64_t *seen = arena_new_array(call->arena, state.count + 1, int64_t);
    size_t count = 0;
    for (size_t i = 0; i < state.count; i++)
        if (state.pairs[i].event != departure->replaces_nid)
            seen[count++] = state.pairs[i].event;
    seen[count++] = departure->event_nid;
    *nids = (struct i64s){seen, count};
    return FAULT_OK;
}
