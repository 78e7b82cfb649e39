/* Who reads a room; see reader.h. */
#include "workers/rooms/reader.h"

#include "lib/store/state_snapshot.h"
#include "workers/rooms/queries.h"

bool reader_open(struct call *call, struct reader *reader, struct reply *answer)
{
    *reader = (struct reader){.until = INT64_MAX};
    enum fault fault = room_find(call, call_param(call, "roomId"), &reader->room);
    if (!fault && reader->room.extremities.len) {
        fault = membership_find(call, reader->room.room_nid, call->requester.user_id, &reader->membership);
        if (fault == FAULT_NOT_FOUND) {
            reader->membership = (struct membership_row){0};
            fault = FAULT_OK;
        }
    } else if (!fault) {
        fault = FAULT_NOT_FOUND; /* only an invite is known here */
    }
    if (fault && fault != FAULT_NOT_FOUND) {
        *answer = call_fail(call, fault, NULL);
        return false;
    }
    if (fault == FAULT_OK) {
        struct slice now = reader->membership.membership;
        reader->joined = slice_eq(now, SLICE("join"));
        if (reader->joined)
            return true;
        if ((slice_eq(now, SLICE("leave")) || slice_eq(now, SLICE("ban"))) && !reader->membership.is_forgotten) {
            fault = departure_find(call, reader->membership.event_nid, &reader->departure);
            if (fault == FAULT_OK) {
                reader->departed = true;
                reader->until = reader->departure.room_pos;
                return true;
            }
            if (fault != FAULT_NOT_FOUND) {
                *answer = call_fail(call, fault, NULL);
                return false;
            }
        }
        if (room_is_world_readable(call, reader->room.room_nid, &fault))
            return true;
        if (fault) {
            *answer = call_fail(call, fault, NULL);
            return false;
        }
    }
    *answer = call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    return false;
}

enum fault keep_visible(struct call *call, struct slice user_id, struct event_rows *rows, struct slice **memberships)
{
    bool *visible = arena_new_array(call->arena, rows->count, bool);
    struct slice *all = arena_new_array(call->arena, rows->count, struct slice);
    enum fault fault = visible_to_user(call, rows, user_id, visible, all);
    size_t kept = 0;
    for (size_t i = 0; !fault && i < rows->count; i++) {
        if (!visible[i])
            continue;
        all[kept] = all[i];
        rows->at[kept++] = rows->at[i];
    }
    rows->count = kept;
    *memberships = all;
    return fault;
}

enum fault render_visible(struct call *call, const struct reader *reader, const struct event_rows *rows, struct json_writer *w,
                          size_t *shown)
{
    struct event_rows kept = {arena_new_array(call->arena, rows->count, struct event_row), rows->count};
    memcpy(kept.at, rows->at, rows->count * sizeof *rows->at);
    struct render_for who = {.user_id = call->requester.user_id, .device_id = call->requester.device_id};
    struct render_batch *batch;
    struct slice *memberships;
    enum fault fault = keep_visible(call, call->requester.user_id, &kept, &memberships);
    who.memberships = memberships;
    if (fault || (fault = render_prepare(call, &kept, &who, &batch)))
        return fault;
    for (size_t i = 0; i < kept.count; i++)
        event_render(batch, w, &kept.at[i]);
    *shown = kept.count;
    return FAULT_OK;
}

enum fault reader_state(struct call *call, const struct reader *reader, struct event_rows *out)
{
    struct i64s nids;
    if (!reader->departed)
        return current_state_events(call, reader->room.room_nid, out);
    enum fault fault = departure_state(call, &reader->departure, &nids);
    return fault ? fault : event_rows_by_nid(call, nids, out);
}

static enum fault first_known_state(struct call *call, const struct reader *reader, int64_t from, struct event_rows *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_state_known_from(batch, reader->room.room_nid, from);
    enum fault fault = db_run(batch);
    struct state_known_from_row row;
    *out = (struct event_rows){NULL, 0};
    return fault || !state_known_from_next(result, &row) ? fault : event_rows_by_nid(call, (struct i64s){&row.event_nid, 1}, out);
}

/* Drops an event whose state is not known, or not for him to see. */
static enum fault keep_telling(struct call *call, struct event_rows *one)
{
    struct slice *memberships;
    if (one->count && one->at[0].snapshot_nid == 0)
        one->count = 0;
    return keep_visible(call, call->requester.user_id, one, &memberships);
}

enum fault reader_state_at(struct call *call, const struct reader *reader, int64_t before, struct event_rows *out)
{
    struct event_rows last;
    struct state_map state;
    if (before > (reader->departed ? reader->until : reader->room.head_pos))
        return reader_state(call, reader, out);
    enum fault fault = timeline_page(call, reader->room.room_nid, before, INT64_MIN + 1, true, 1, &last);
    if (!fault)
        fault = keep_telling(call, &last);
    if (!fault && last.count == 0 && !(fault = first_known_state(call, reader, before, &last)))
        fault = keep_telling(call, &last);
    if (fault || last.count == 0)
        return fault ? fault : reader_state(call, reader, out);
    if ((fault = state_snapshot_load(call, last.at[0].snapshot_nid, &state)))
        return fault;
    int64_t *nids = arena_new_array(call->arena, state.count + 1, int64_t);
    size_t count = 0;
    for (size_t i = 0; i < state.count; i++)
        if (state.pairs[i].event != last.at[0].replaces_nid)
            nids[count++] = state.pairs[i].event;
    if (!slice_is_absent(last.at[0].state_key))
        nids[count++] = last.at[0].event_nid;
    return event_rows_by_nid(call, (struct i64s){nids, count}, out);
}
