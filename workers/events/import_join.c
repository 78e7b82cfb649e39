/* message room_import_join: a room whose state was stored before (import_events.c) gets it as its current state, and the join on
 * top. The rows of current_state and membership of other servers' users are written first, in chunks: nobody reads them while no
 * user of ours is in the room. One small last transaction writes what concerns our own users, the heads and the snapshot: from then
 * on the room is seen, and the horizon was held for that only (DESIGN §8). An import begins by moving the room's version. So of two
 * at a time the earlier one's chunks fail, and what an import left behind that never ended is older than the next one's beginning:
 * it is swept away. */
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/matrix/ids.h"
#include "lib/store/event_row.h"
#include "proto/dispatch.h"
#include "workers/events/import.h"
#include "workers/events/import_pace.h"
#include "workers/events/inbound.h"
#include "workers/events/queries.h"
#include "workers/events/state_keys.h"

enum { READ_AT_ONCE = 250, RACES_MAX = 5 };

struct joining {
    struct call *call;
    struct hot_room *room;
    struct state_map state; /* before the join */
    struct state_map rows;  /* the part of it that is written ahead */
    int64_t version, begun_pos;
    struct import_times times;
    struct import_pace pace; /* of the rows that are written ahead */
};

static bool is_local_member(const struct event_row *row)
{
    return slice_eq(row->type, SLICE("m.room.member")) && slice_eq(id_server_name(row->state_key), server_name());
}

/* ---- the beginning */
static enum fault begin(struct joining *joining)
{
    struct hot_room *room = joining->room;
    struct db_batch *batch = call_batch(joining->call);
    struct db_result *advanced =
        q_room_advance(batch, room->room_nid, room->db_version, (struct i64s){room->extremities, room->extremity_count},
                       room->depth, room->head_pos, room->tail_pos, room->snapshot_nid);
    enum fault fault = import_run(batch, &joining->times, "begin");
    struct room_advance_row row;
    if (fault) {
        hot_room_drop(room->room_id);
        return fault;
    }
    ensure(room_advance_next(advanced, &row));
    joining->begun_pos = row.pos;
    joining->version = ++room->db_version;
    return FAULT_OK;
}

/* ---- the rows, in chunks */
static struct slice text_or_absent(const struct json *content, const char *key)
{
    struct slice text = json_get_string(content, key);
    return slice_has_nul(text) ? SLICE_ABSENT : text; /* PostgreSQL text cannot hold it; the event itself keeps it */
}

static void add_members(struct joining *joining, struct db_batch *batch, const struct event_row *const *rows, size_t count)
{
    struct arena *arena = joining->call->arena;
    struct slice *columns[5];
    int64_t *numbers[3];
    for (size_t i = 0; i < 5; i++)
        columns[i] = arena_new_array(arena, count, struct slice);
    for (size_t i = 0; i < 3; i++)
        numbers[i] = arena_new_array(arena, count, int64_t);
    size_t set = 0;
    for (size_t i = 0; i < count; i++) {
        const struct event_row *row = rows[i];
        if (!slice_eq(row->type, SLICE("m.room.member")) || !user_id_is_valid(row->state_key))
            continue; /* the rules let a state key through that is no user's; nobody can be meant by it */
        const struct json *content = event_row_parse(arena, row)->content;
        columns[0][set] = row->state_key;
        columns[1][set] = id_server_name(row->state_key);
        columns[2][set] = json_get_string(content, "membership");
        columns[3][set] = text_or_absent(content, "displayname");
        columns[4][set] = text_or_absent(content, "avatar_url");
        numbers[0][set] = row->event_nid;
        numbers[2][set++] = joining->room->head_pos + 1; /* the join's */
    }
    if (set)
        q_membership_set(batch, joining->room->room_nid, (struct slices){columns[0], set}, (struct slices){columns[1], set},
                         (struct slices){columns[2], set}, (struct i64s){numbers[0], set}, (struct i64s){numbers[1], set},
                         (struct slices){columns[3], set}, (struct slices){columns[4], set}, (struct i64s){numbers[2], set},
                         SLICE_ABSENT);
}

/* One chunk of state_map's pairs. ahead: those written here go there, in the order of the map. */
static enum fault write_chunk(struct joining *joining, const struct state_pair *pairs, size_t count, struct state_pair *ahead,
                              size_t *ahead_count)
{
    struct call *call = joining->call;
    struct arena *arena = call->arena;
    int64_t *nids = arena_new_array(arena, count, int64_t), *set_nids = arena_new_array(arena, count, int64_t);
    for (size_t i = 0; i < count; i++)
        nids[i] = pairs[i].event;
    struct event_rows rows;
    enum fault fault = event_rows_by_nid(call, (struct i64s){nids, count}, &rows);
    if (fault)
        return fault;
    struct slice *types = arena_new_array(arena, count, struct slice), *keys = arena_new_array(arena, count, struct slice);
    const struct event_row **set = arena_new_array(arena, count, const struct event_row *);
    size_t set_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct event_row *row = event_rows_find(&rows, pairs[i].event);
        ensure(row && row->room_nid == joining->room->room_nid && !slice_is_absent(row->state_key)); /* import_events.c said so */
        /* What stood in our own users' rows before, they may be told: those are left alone unless nothing changes. */
        if (is_local_member(row)) {
            if (state_map_get(joining->room->state->map, pairs[i].key) == pairs[i].event)
                ahead[(*ahead_count)++] = pairs[i];
            continue;
        }
        ahead[(*ahead_count)++] = pairs[i];
        types[set_count] = row->type;
        keys[set_count] = row->state_key;
        set_nids[set_count] = row->event_nid;
        set[set_count++] = row;
    }
    struct db_batch *batch = call_batch(call);
    q_import_guard(batch, joining->room->room_nid, joining->version);
    if (set_count)
        q_current_state_set(batch, joining->room->room_nid, (struct slices){types, set_count}, (struct slices){keys, set_count},
                            (struct i64s){set_nids, set_count});
    add_members(joining, batch, set, set_count);
    fault = import_run(batch, &joining->times, "state");
    import_pace_took(&joining->pace, fault ? 0 : set_count, joining->times.last_us);
    return fault;
}

/* Our own users' rows of the state before that the new one does not have: they count as shown, so that the last transaction removes
 * them. */
static enum fault add_lost_locals(struct joining *joining)
{
    struct arena *arena = joining->call->arena;
    struct state_map old = joining->room->state->map, lost = state_map_diff(arena, old, joining->state);
    int64_t *nids = arena_new_array(arena, READ_AT_ONCE, int64_t);
    struct state_pair *local = arena_new_array(arena, lost.count, struct state_pair);
    size_t count = 0, local_count = 0;
    for (size_t i = 0; i < lost.count; i++) {
        struct event_rows rows = {NULL, 0};
        if (lost.pairs[i].event == 0)
            nids[count++] = state_map_get(old, lost.pairs[i].key);
        if (count < READ_AT_ONCE && (i + 1 < lost.count || count == 0))
            continue;
        enum fault fault = event_rows_by_nid(joining->call, (struct i64s){nids, count}, &rows);
        if (fault)
            return fault;
        for (size_t k = 0; k < rows.count; k++)
            if (is_local_member(&rows.at[k]))
                local[local_count++].event = rows.at[k].event_nid;
        count = 0;
    }
    for (size_t i = 0; i < local_count; i++)
        for (size_t k = 0; k < old.count && !local[i].key; k++)
            local[i].key = old.pairs[k].event == local[i].event ? old.pairs[k].key : 0;
    joining->rows = state_map_apply(arena, joining->rows, state_map_from(arena, local, local_count));
    return FAULT_OK;
}

static enum fault write_rows(struct joining *joining)
{
    struct arena *arena = joining->call->arena;
    struct state_pair *ahead = arena_new_array(arena, joining->state.count, struct state_pair);
    size_t ahead_count = 0;
    enum fault fault = FAULT_OK;
    for (size_t at = 0; at < joining->state.count && !fault;) {
        size_t left = joining->state.count - at, count = joining->pace.rows < left ? joining->pace.rows : left;
        struct arena_mark mark = arena_mark(arena);
        fault = write_chunk(joining, joining->state.pairs + at, count, ahead, &ahead_count);
        arena_release(arena, mark);
        at += count;
    }
    joining->rows = (struct state_map){ahead, ahead_count};
    return fault ? fault : add_lost_locals(joining);
}

/* Rows of a state that is not this one. Mostly there are none, and to find that out takes long in a large room: so the guard, which
 * holds the horizon, comes behind, unlike elsewhere. It is as good there: what was written before a lost race is not committed.
 * Rows being locked before the room, a writer that came between us could wait for us and we for it; PostgreSQL ends that, as a
 * conflict. */
static enum fault sweep(struct joining *joining)
{
    struct call *call = joining->call;
    struct slice own_suffix = arena_printf(call->arena, ":%.*s", PRI(server_name()));
    for (;;) {
        struct db_batch *batch = call_batch(call);
        struct db_result *state = q_import_sweep_state(batch, joining->room->room_nid, joining->begun_pos, own_suffix);
        struct db_result *members = q_import_sweep_members(batch, joining->room->room_nid, joining->begun_pos);
        q_import_guard(batch, joining->room->room_nid, joining->version);
        enum fault fault = import_run(batch, &joining->times, "sweep");
        if (fault || (db_affected(state) == 0 && db_affected(members) == 0))
            return fault;
    }
}

/* ---- the last, small transaction: the room becomes visible. */
static enum fault show(struct joining *joining, struct inbound *inbound)
{
    struct call *call = joining->call;
    const struct event *event = inbound->event;
    struct room_write write;
    struct stored_state before;
    const char *why = NULL;
    enum fault fault;
    room_write_begin(&write, call, joining->room, 1);
    if ((fault = room_write_derive(&write, &write.state, state_map_diff(call->arena, write.state.map, joining->state), &before)))
        return fault;
    write.state = before;
    write.rows = joining->rows;
    write.rows_are_ahead = true;
    if ((fault = inbound_check_state(&write, event, before.map, &why))) {
        call->why = slice_from_cstr(why);
        return fault;
    }
    int64_t *auth = arena_new_array(call->arena, event->auth_events.len, int64_t);
    for (size_t i = 0; i < event->auth_events.len; i++)
        auth[i] = inbound->auth[i].nid;
    int64_t *prev = arena_new_array(call->arena, event->prev_events.len, int64_t);
    size_t prev_count = 0;
    for (size_t i = 0; i < event->prev_events.len; i++)
        if (inbound->prev[i].nid)
            prev[prev_count++] = inbound->prev[i].nid;
    struct pending_event pending = {.event = inbound->event,
                                    .nid = inbound->self.nid,
                                    .was_outlier = inbound->self.nid != 0,
                                    .flags = EVENT_STATE,
                                    .auth_nids = {auth, event->auth_events.len},
                                    .missing_prev = inbound->absent_prev};
    if ((fault = state_keys_intern(call, &event->type, &event->state_key, 1, &pending.state_key_nid)))
        return fault;
    room_write_set_heads(&write, NULL, NULL, 0); /* older heads of ours are history: the join stands above all of them */
    write.depth = 0;
    if ((fault = room_write_append(&write, pending)))
        return fault;
    write.events[0].prev_nids = (struct i64s){prev, prev_count};
    int64_t start_us = clock_monotonic_us();
    fault = room_write_commit(&write);
    import_took(&joining->times, "show", clock_monotonic_us() - start_us);
    return fault;
}

static enum fault users_of_ours_are_in(struct call *call, const struct hot_room *room, struct slice user_id, bool *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_membership_now(batch, room->room_nid, user_id);
    struct membership_now_row row;
    enum fault fault = db_run(batch);
    *out = !fault && room->extremity_count && membership_now_next(result, &row) && row.server_joined;
    return fault;
}

static enum fault import_join(struct joining *joining, const struct room_import_join_request *request,
                              struct room_import_join_reply *reply)
{
    struct call *call = joining->call;
    struct inbound inbound;
    const char *why = NULL;
    enum fault fault;
    if ((fault = hot_room_get(call, request->room_id, &joining->room)))
        return fault;
    if ((fault = inbound_parse(call, joining->room->version, request->room_id, request->join_event, &inbound, &why)) ||
        (fault = inbound_lookup(call, joining->room, &inbound, &why))) {
        call->why = slice_from_cstr(why);
        return fault;
    }
    reply->event_id = inbound.event->event_id;
    if (inbound.self.nid && !(inbound.self.flags & EVENT_OUTLIER))
        return FAULT_OK; /* done before */
    if ((fault = users_of_ours_are_in(call, joining->room, inbound.event->state_key, &reply->is_ours)) || reply->is_ours)
        return fault;
    if (inbound.missing.len > inbound.missing_prev.len) {
        call->why = SLICE("an auth event of the join is unknown");
        return FAULT_MISSING_EVENTS;
    }
    if ((fault = begin(joining)) || (fault = write_rows(joining)) || (fault = sweep(joining)))
        return fault;
    return show(joining, &inbound);
}

enum fault answer_room_import_join(struct call *call, const struct room_import_join_request *request,
                                   struct room_import_join_reply *reply)
{
    size_t count = request->event_nids.len;
    if (request->state_key_nids.len != count)
        return FAULT_INVALID_PARAM;
    struct joining joining = {.call = call};
    import_pace_start(&joining.pace);
    struct state_pair *pairs = arena_new_array(call->arena, count, struct state_pair);
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct state_pair){request->state_key_nids.at[i], request->event_nids.at[i]};
    joining.state = state_map_from(call->arena, pairs, count);
    for (int race = 0;; race++) {
        enum fault fault = import_join(&joining, request, reply);
        reply->longest_us = joining.times.longest_us;
        if (fault != FAULT_CONFLICT || race == RACES_MAX)
            return fault;
        hot_room_drop(request->room_id);
    }
}
