/* Rooms that the user left or was banned from: he sees them as they were when he went. The state then is the one before his
 * departure, and the departure. Who never was in (a rejected invite) sees the departure only. */
#include "lib/store/departure.h"
#include "workers/sync/queries.h"
#include "workers/sync/work.h"

static bool is_left(const struct sync_room *room)
{
    return room->section == SECTION_LEAVE;
}

static struct slice membership_of(struct call *call, const struct event_row *row)
{
    return json_get_string(json_get_object(json_parse(call->arena, row->json, JSON_LAX, NULL), "content"), "membership");
}

static bool is_departure(struct slice membership)
{
    return slice_eq(membership, SLICE("leave")) || slice_eq(membership, SLICE("ban"));
}

/* An end that came without a room around it has no place in a timeline of ours, but must be told. */
static void tell_outlier(struct sync_work *work, struct sync_room *room, const struct event_row *departure)
{
    if (departure->room_pos != DB_NULL_I64 || work->request->filter.timeline_empty)
        return;
    row_list_add(work->call->arena, &room->timeline, departure);
    room->prev_pos = 1;
}

static enum fault load_state(struct sync_work *work, struct sync_room *room, const struct event_row *departure)
{
    struct i64s nids;
    enum fault fault = departure_state(work->call, departure, &nids);
    if (fault)
        return fault;
    struct db_batch *batch = call_batch(work->call);
    struct db_result *result = q_events_of(batch, nids, !room->entire, work->since);
    if ((fault = db_run(batch)))
        return fault;
    struct events_of_row row;
    while (events_of_next(result, &row)) {
        struct event_row event = EVENT_ROW_OF(row, room);
        row_list_add(work->call->arena, &room->state, &event);
    }
    return FAULT_OK;
}

enum fault left_rooms_read(struct sync_work *work)
{
    struct sync_room **rooms;
    struct i64s nids;
    if (rooms_where(work, is_left, &rooms, &nids) == 0)
        return FAULT_OK;
    int64_t *departures = arena_new_array(work->call->arena, nids.len, int64_t);
    for (size_t i = 0; i < nids.len; i++)
        departures[i] = rooms[i]->member_nid;
    struct db_batch *batch = call_batch(work->call);
    struct db_result *result = q_events_of(batch, (struct i64s){departures, nids.len}, false, work->since);
    enum fault fault = db_run(batch);
    struct events_of_row row;
    while (!fault && events_of_next(result, &row)) {
        struct sync_room *room = map_get(work->by_nid, slice_of(&row.room_nid, sizeof row.room_nid));
        struct event_row departure = EVENT_ROW_OF(row, room), last;
        if (!is_departure(membership_of(work->call, &departure)))
            continue; /* the end came without an event of its own */
        tell_outlier(work, room, &departure);
        row_list_add(work->call->arena, &room->state, &departure);
        fault = departure_find(work->call, departure.event_nid, &last);
        if (fault || last.event_nid != departure.event_nid) { /* who was out already is told of this event alone */
            fault = fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
            continue;
        }
        room->state.count = 0;
        fault = load_state(work, room, &departure);
    }
    return fault;
}
