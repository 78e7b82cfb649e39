/* Collecting a write batch; see room_write.h. Sending it is room_commit.c. */
#include "workers/events/room_write.h"

#include "lib/base/ensure.h"
#include "lib/store/event_row.h"
#include "workers/events/nids.h"

struct stored_state hot_room_state(const struct hot_room *room)
{
    return (struct stored_state){room->state->map, room->state->layers, room->state->layer_count, room->snapshot_nid};
}

void room_write_begin(struct room_write *write, struct call *call, struct hot_room *room, size_t capacity)
{
    *write = (struct room_write){.call = call,
                                 .room = room,
                                 .events = arena_new_array(call->arena, capacity, struct pending_event),
                                 .capacity = capacity,
                                 .snapshots = arena_new_array(call->arena, capacity * 2 + 2, struct new_snapshot),
                                 .snapshot_capacity = capacity * 2 + 2,
                                 .depth = room->depth,
                                 .head_pos = room->head_pos,
                                 .tail_pos = room->tail_pos,
                                 .state = hot_room_state(room)};
    room_write_set_heads(write, room->extremities, room->extremity_ids, room->extremity_count);
}

void room_write_set_heads(struct room_write *write, const int64_t *nids, const struct slice *ids, size_t count)
{
    struct arena *arena = write->call->arena;
    write->head_nids = arena_new_array(arena, count, int64_t);
    write->head_ids = arena_new_array(arena, count, struct slice);
    write->head_count = count;
    for (size_t i = 0; i < count; i++) {
        write->head_nids[i] = nids[i];
        write->head_ids[i] = arena_copy(arena, ids[i]);
    }
}

enum fault room_write_derive(struct room_write *write, const struct stored_state *parent, struct state_map changes,
                             struct stored_state *out)
{
    struct arena *arena = write->call->arena;
    struct state_map map = state_map_apply(arena, parent->map, changes);
    changes = state_map_diff(arena, parent->map, map); /* what really changes */
    if (changes.count == 0 && parent->snapshot_nid) {
        *out = *parent;
        return FAULT_OK;
    }
    struct new_snapshot snapshot = {.entries = map.count};
    enum fault fault = nid_take(write->call, &snapshot.nid);
    if (fault)
        return fault;
    struct state_map delta =
        state_chain_push(arena, parent->layers, parent->layer_count, changes, &snapshot.base_nid, &snapshot.layers_below);
    snapshot.delta = state_delta_encode(arena, delta);
    ensure(write->snapshot_count < write->snapshot_capacity);
    write->snapshots[write->snapshot_count++] = snapshot;

    size_t below = (size_t)snapshot.layers_below;
    struct state_layer *layers = arena_new_array(arena, below + 1, struct state_layer);
    layers[0] = (struct state_layer){snapshot.nid, snapshot.base_nid, delta, snapshot.delta.len};
    for (size_t i = 0; i < below; i++)
        layers[i + 1] = parent->layers[parent->layer_count - below + i];
    *out = (struct stored_state){map, layers, below + 1, snapshot.nid};
    return FAULT_OK;
}

enum fault room_write_add(struct room_write *write, struct pending_event pending)
{
    ensure(write->count < write->capacity);
    if (pending.nid == 0) {
        enum fault fault = nid_take(write->call, &pending.nid);
        if (fault)
            return fault;
    }
    write->events[write->count++] = pending;
    return FAULT_OK;
}

/* The new event instead of those it names; heads past the limit of prev events stay for the next. */
static void advance_heads(struct room_write *write, size_t named, int64_t nid, struct slice event_id)
{
    size_t rest = write->head_count - named;
    int64_t *nids = arena_new_array(write->call->arena, rest + 1, int64_t);
    struct slice *ids = arena_new_array(write->call->arena, rest + 1, struct slice);
    memcpy(nids, write->head_nids + named, rest * sizeof *nids);
    memcpy(ids, write->head_ids + named, rest * sizeof *ids);
    nids[rest] = nid;
    ids[rest] = event_id;
    room_write_set_heads(write, nids, ids, rest + 1);
}

enum fault room_write_append(struct room_write *write, struct pending_event pending)
{
    enum fault fault;
    if (pending.nid == 0 && (fault = nid_take(write->call, &pending.nid)))
        return fault;
    pending.room_pos = ++write->head_pos;
    pending.snapshot_nid = write->state.snapshot_nid;
    size_t prev_count = write->head_count < PREV_EVENTS_MAX ? write->head_count : PREV_EVENTS_MAX;
    pending.prev_nids = (struct i64s){write->head_nids, prev_count};
    if (pending.state_key_nid) {
        pending.flags |= EVENT_STATE;
        pending.replaces_nid = state_map_get(write->state.map, pending.state_key_nid);
        pending.is_current = true;
        for (size_t i = 0; i < write->count; i++)
            if (write->events[i].state_key_nid == pending.state_key_nid)
                write->events[i].is_current = false;
        struct state_pair change = {pending.state_key_nid, pending.nid};
        if ((fault = room_write_derive(write, &write->state, (struct state_map){&change, 1}, &write->state)))
            return fault;
    }
    if (write->depth < pending.event->depth)
        write->depth = pending.event->depth;
    advance_heads(write, prev_count, pending.nid, pending.event->event_id);
    return room_write_add(write, pending);
}
