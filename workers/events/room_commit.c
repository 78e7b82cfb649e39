/* Sends a write batch as one pipelined transaction and tells the listeners; see room_write.h. A plain message is three statements:
 * the room row with its version check, the event row, the transaction id. */
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/matrix/ids.h"
#include "lib/store/event_row.h"
#include "workers/events/publish.h"
#include "workers/events/queries.h"
#include "workers/events/redactions.h"
#include "workers/events/reset_guard.h"
#include "workers/events/room_write.h"

/* Rows of current_state and membership from which on five seconds may not be enough: 100,000 took 3 s on a slow machine. */
enum { BULK_CHANGES = 20000 };

/* ---- the events themselves */
static void add_one_event(struct db_batch *batch, const struct room_write *write, const struct pending_event *pending)
{
    static const int64_t nothing;
    const struct event *event = pending->event;
    const struct i64s prev =
        pending->prev_nids.at ? pending->prev_nids : (struct i64s){&nothing, 0}; /* outliers: not NULL but empty */
    q_event_insert_one(batch, pending->nid, event->event_id, write->room->room_nid, pending->room_pos, event->depth, event->type,
                       event->state_key, event->sender, event->origin_server_ts, pending->flags, pending->snapshot_nid,
                       pending->replaces_nid ? pending->replaces_nid : DB_NULL_I64, prev, pending->auth_nids, event->raw);
}

static void add_events(struct db_batch *batch, const struct room_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        const struct pending_event *pending = &write->events[i];
        if (pending->was_outlier)
            q_outlier_place(batch, pending->nid, pending->room_pos, pending->flags, pending->snapshot_nid,
                            pending->replaces_nid ? pending->replaces_nid : DB_NULL_I64, pending->prev_nids);
        else
            add_one_event(batch, write, pending); /* batches of rooms are small; imports go through outlier_insert in bulk */
        if (pending->missing_prev.len) {
            int64_t *children = arena_new_array(write->call->arena, pending->missing_prev.len, int64_t);
            for (size_t k = 0; k < pending->missing_prev.len; k++)
                children[k] = pending->nid;
            q_backward_edge_insert(batch, write->room->room_nid, pending->missing_prev,
                                   (struct i64s){children, pending->missing_prev.len});
        }
    }
}

static void close_backward_edges(struct db_batch *batch, const struct room_write *write)
{
    struct slice *ids = arena_new_array(write->call->arena, write->count, struct slice);
    size_t count = 0;
    for (size_t i = 0; i < write->count; i++)
        if (!(write->events[i].flags & EVENT_OUTLIER) && !(write->events[i].flags & EVENT_LOCAL))
            ids[count++] = write->events[i].event->event_id;
    if (count)
        q_backward_edge_close(batch, write->room->room_nid, (struct slices){ids, count});
}

/* ---- the current state as rows */
static const struct event *pending_by_nid(const struct room_write *write, int64_t nid)
{
    for (size_t i = 0; i < write->count; i++)
        if (write->events[i].nid == nid)
            return write->events[i].event;
    return NULL;
}

struct state_changes {
    size_t count;
    struct slice *types, *state_keys;
    int64_t *nids; /* 0: removed */
    const struct event **events;
};

/* What the resolution changed. New events are at hand; a change to an older event, or a removal, reads the event it concerns. */
static enum fault collect_changes(struct room_write *write, struct state_changes *out)
{
    struct arena *arena = write->call->arena;
    struct state_map before = write->rows_are_ahead ? write->rows : write->room->state->map,
                     diff = state_map_diff(arena, before, write->state.map);
    *out = (struct state_changes){.count = diff.count,
                                  .types = arena_new_array(arena, diff.count, struct slice),
                                  .state_keys = arena_new_array(arena, diff.count, struct slice),
                                  .nids = arena_new_array(arena, diff.count, int64_t),
                                  .events = arena_new_array(arena, diff.count, const struct event *)};
    int64_t *unknown = arena_new_array(arena, diff.count, int64_t);
    struct event **loaded = arena_new_array(arena, diff.count, struct event *);
    for (size_t i = 0; i < diff.count; i++) {
        int64_t nid = diff.pairs[i].event ? diff.pairs[i].event : state_map_get(before, diff.pairs[i].key);
        out->nids[i] = diff.pairs[i].event;
        out->events[i] = pending_by_nid(write, nid);
        unknown[i] = out->events[i] ? 0 : nid;
    }
    enum fault fault = hot_room_events(write->call, write->room, unknown, diff.count, loaded);
    if (fault)
        return fault;
    for (size_t i = 0; i < diff.count; i++) {
        if (!out->events[i])
            out->events[i] = loaded[i];
        ensure(out->events[i] && event_is_state(out->events[i]));
        out->types[i] = out->events[i]->type;
        out->state_keys[i] = out->events[i]->state_key;
    }
    return FAULT_OK;
}

static int64_t position_of(const struct room_write *write, int64_t nid)
{
    for (size_t i = 0; i < write->count; i++)
        if (write->events[i].nid == nid)
            return write->events[i].room_pos;
    return write->head_pos;
}

static void add_memberships(struct db_batch *batch, const struct room_write *write, const struct state_changes *changes)
{
    struct arena *arena = write->call->arena;
    struct slice *columns[6];
    int64_t *numbers[3];
    for (size_t i = 0; i < 6; i++)
        columns[i] = arena_new_array(arena, changes->count, struct slice);
    for (size_t i = 0; i < 3; i++)
        numbers[i] = arena_new_array(arena, changes->count, int64_t);
    size_t set = 0, removed = 0;
    for (size_t i = 0; i < changes->count; i++) {
        const struct event *event = changes->events[i];
        if (!event_is(event, "m.room.member") || !user_id_is_valid(event->state_key))
            continue; /* the rules let a state key through that is no user's; nobody can be meant by it */
        if (changes->nids[i] == 0) {
            columns[5][removed++] = event->state_key;
            continue;
        }
        columns[0][set] = event->state_key;
        columns[1][set] = id_server_name(event->state_key);
        columns[2][set] = json_get_string(event->content, "membership");
        columns[3][set] = json_get_string(event->content, "displayname");
        columns[4][set] = json_get_string(event->content, "avatar_url");
        if (slice_has_nul(columns[3][set]))
            columns[3][set] = SLICE_ABSENT; /* PostgreSQL text cannot hold it; the event itself keeps it */
        if (slice_has_nul(columns[4][set]))
            columns[4][set] = SLICE_ABSENT;
        numbers[0][set] = changes->nids[i];
        numbers[1][set] = slice_eq(columns[1][set], server_name());
        numbers[2][set++] = position_of(write, changes->nids[i]);
    }
    if (set)
        q_membership_set(batch, write->room->room_nid, (struct slices){columns[0], set}, (struct slices){columns[1], set},
                         (struct slices){columns[2], set}, (struct i64s){numbers[0], set}, (struct i64s){numbers[1], set},
                         (struct slices){columns[3], set}, (struct slices){columns[4], set}, (struct i64s){numbers[2], set},
                         SLICE_ABSENT);
    if (removed)
        q_membership_remove(batch, write->room->room_nid, (struct slices){columns[5], removed});
}

static void add_destinations(struct db_batch *batch, const struct room_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        struct slices servers = write->events[i].destinations;
        int64_t *nids = arena_new_array(write->call->arena, servers.len, int64_t);
        for (size_t k = 0; k < servers.len; k++)
            nids[k] = write->events[i].nid;
        if (servers.len)
            q_destination_insert(batch, (struct i64s){nids, servers.len}, servers);
    }
}

static void add_transaction_id(struct db_batch *batch, const struct room_write *write)
{
    const struct client_txn *txn = &write->txn;
    if (!slice_is_absent(txn->id) && write->count)
        q_txn_insert(batch, txn->user, txn->device, write->room->room_nid, txn->scope, txn->id, write->events[0].nid,
                     clock_wall_ms());
}

static void update_hot_room(struct room_write *write, const struct state_changes *changes)
{
    struct hot_room *room = write->room;
    room->db_version++;
    room->depth = write->depth;
    room->head_pos = write->head_pos;
    room->tail_pos = write->tail_pos;
    room->snapshot_nid = write->state.snapshot_nid;
    hot_room_set_heads(room, write->head_nids, write->head_ids, write->head_count);
    if (changes->count) {
        hot_room_set_state(room, write->state.map, write->state.layers, write->state.layer_count);
        for (size_t i = 0; i < changes->count; i++)
            if (event_is(changes->events[i], "m.room.member"))
                map_destroy(&room->servers); /* counted anew when next asked for */
    }
    hot_room_keep(room);
}

enum fault room_write_commit(struct room_write *write)
{
    struct hot_room *room = write->room;
    struct state_changes changes = {0};
    struct publication *publication = NULL;
    enum fault fault;
    if ((write->state.snapshot_nid != room->snapshot_nid && (fault = collect_changes(write, &changes))) ||
        (fault = publication_prepare(write, &publication)) || (fault = redactions_prepare(write)))
        return fault;

    struct db_batch *batch = call_batch(write->call);
    if (changes.count > BULK_CHANGES)
        db_bulk(batch);
    if (write->is_new_room)
        q_room_insert(batch, room->room_nid, room->room_id, slice_from_cstr(room->version->id));
    struct db_result *advanced =
        q_room_advance(batch, room->room_nid, room->db_version, (struct i64s){write->head_nids, write->head_count}, write->depth,
                       write->head_pos, write->tail_pos, write->state.snapshot_nid);
    for (size_t i = 0; i < write->snapshot_count; i++) {
        const struct new_snapshot *s = &write->snapshots[i];
        q_snapshot_insert(batch, s->nid, room->room_nid, s->base_nid, s->layers_below, (int64_t)s->entries, s->delta);
    }
    add_events(batch, write);
    close_backward_edges(batch, write);
    if (changes.count) {
        q_current_state_set(batch, room->room_nid, (struct slices){changes.types, changes.count},
                            (struct slices){changes.state_keys, changes.count}, (struct i64s){changes.nids, changes.count});
        add_memberships(batch, write, &changes);
    }
    add_destinations(batch, write);
    add_transaction_id(batch, write);
    redactions_add(batch, write);
    reset_guard_add(batch, write);
    db_after_commit(batch); /* the last of concurrent writers always reads a horizon past all of them (DESIGN §8) */
    struct db_result *horizon = q_horizon(batch);
    if ((fault = db_run(batch))) {
        hot_room_drop(room->room_id);
        return fault;
    }
    struct room_advance_row row;
    struct horizon_row after;
    ensure(room_advance_next(advanced, &row) && horizon_next(horizon, &after));
    write->pos = row.pos;
    write->horizon = after.horizon;
    update_hot_room(write, &changes);
    publication_send(publication, write);
    return FAULT_OK;
}
