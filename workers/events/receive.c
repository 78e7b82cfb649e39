/* message room_receive: PDUs of other servers ("Checks performed on receipt of a PDU", Server-Server API). Signatures and hashes
 * are checked before, by federation; here the event meets the room: authorisation three times, its place, the new state. Each PDU
 * is one write batch, so that a bad one does not cost its neighbours. */
#include "lib/base/ensure.h"
#include "lib/store/event_row.h"
#include "proto/dispatch.h"
#include "workers/events/inbound.h"
#include "workers/events/queries.h"
#include "workers/events/state_keys.h"

enum { RACES_MAX = 8 };

struct reception {
    struct call *call;
    struct slice room_id;
    enum receive_mode mode;
    struct slices state_event_ids; /* the states after the first PDU's missing prev events; used once */
    struct i64s state_ends;
    struct slices unknown; /* of state_event_ids, after a MISSING_EVENTS because of them */
    bool state_given, distribute;
    bool not_recommended;  /* the one that is being received */
    bool soft_failed;      /* the last one that was received */
    int64_t backfill_left; /* history gets positions downwards, oldest lowest: below backfill_base, by what is left */
    int64_t backfill_base; /* 1: not known yet; else ≤ 0 */
    int64_t backfill_lowest;
};

/* ---- outliers: no place, no state */
static enum fault receive_outlier(struct room_write *write, struct inbound *inbound, const char **why)
{
    if (inbound->self.nid)
        return FAULT_OK;
    for (size_t i = 0; i < inbound->event->auth_events.len; i++)
        if (inbound->auth[i].nid == 0)
            return FAULT_MISSING_EVENTS;
    inbound->absent_prev = (struct slices){NULL, 0};
    enum fault verdict = inbound_check_auth_events(write->call, write->room, inbound, why);
    if (verdict && verdict != FAULT_REJECTED)
        return verdict;
    int64_t *auth = arena_new_array(write->call->arena, inbound->event->auth_events.len, int64_t);
    for (size_t i = 0; i < inbound->event->auth_events.len; i++)
        auth[i] = inbound->auth[i].nid;
    struct pending_event pending = {.event = inbound->event,
                                    .room_pos = DB_NULL_I64,
                                    .flags = EVENT_OUTLIER | (verdict ? EVENT_REJECTED : 0) |
                                             (event_is_state(inbound->event) ? EVENT_STATE : 0),
                                    .auth_nids = {auth, inbound->event->auth_events.len}};
    enum fault fault = room_write_add(write, pending);
    if (fault || (fault = room_write_commit(write)))
        return fault;
    return verdict;
}

/* ---- the state before the event */
/* One given set as a map; of two events of one key the later wins: the missing event itself comes last. A set with holes is no
 * state: what is not here must be fetched first. */
static enum fault given_map(struct reception *reception, struct room_write *write, struct slices event_ids, struct state_map *out)
{
    struct call *call = write->call;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_given_state(batch, event_ids, write->room->room_nid);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    size_t room = (size_t)db_affected(result), count = 0;
    struct map *by_id = map_create(call->arena); /* event id → the row's place, or -1 when it is no state of this room */
    struct given_state_row *rows = arena_new_array(call->arena, room + 1, struct given_state_row);
    for (size_t i = 0; i < room && given_state_next(result, &rows[i]); i++)
        map_put_i64(by_id, rows[i].event_id, rows[i].is_usable ? (int64_t)i : -1);
    struct slice *unknown = arena_new_array(call->arena, event_ids.len, struct slice);
    reception->unknown = (struct slices){unknown, 0};
    struct state_pair *pairs = arena_new_array(call->arena, room, struct state_pair);
    struct slice *types = arena_new_array(call->arena, room, struct slice),
                 *keys = arena_new_array(call->arena, room, struct slice);
    int64_t *key_nids = arena_new_array(call->arena, room, int64_t), place;
    for (size_t i = 0; i < event_ids.len; i++) {
        if (!map_get_i64(by_id, event_ids.at[i], &place)) {
            unknown[reception->unknown.len++] = event_ids.at[i];
            continue;
        }
        if (place < 0)
            continue;
        map_put_i64(by_id, event_ids.at[i], -1); /* named twice: once is enough */
        types[count] = rows[place].type;
        keys[count] = rows[place].state_key;
        pairs[count++].event = rows[place].event_nid;
    }
    if (reception->unknown.len)
        return FAULT_MISSING_EVENTS;
    if ((fault = state_keys_intern(call, types, keys, count, key_nids)))
        return fault;
    for (size_t i = 0; i < count; i++)
        pairs[i].key = key_nids[i];
    *out = state_map_from(call->arena, pairs, count);
    return FAULT_OK;
}

/* The candidate that is nearest to the wanted map becomes the parent of its snapshot; an equal one is shared. */
static enum fault store_state(struct room_write *write, struct state_map map, const struct after_state *states, size_t count,
                              struct stored_state *out)
{
    struct arena *arena = write->call->arena;
    const struct stored_state *parent = &write->state;
    size_t least = state_map_distance(parent->map, map);
    for (size_t i = 0; i < count && least; i++) {
        size_t distance = state_map_distance(states[i].before.map, map);
        if (distance < least) {
            least = distance;
            parent = &states[i].before;
        }
    }
    return room_write_derive(write, parent, state_map_diff(arena, parent->map, map), out);
}

static bool names_head(const struct inbound *inbound, int64_t head_nid)
{
    for (size_t i = 0; i < inbound->event->prev_events.len; i++)
        if (inbound->prev[i].nid == head_nid)
            return true;
    return false;
}

static bool is_head(const struct room_write *write, int64_t nid)
{
    for (size_t i = 0; i < write->head_count; i++)
        if (write->head_nids[i] == nid)
            return true;
    return false;
}

/* All heads and nothing else: then the current state is the state before it. The usual case. */
static bool names_all_heads(const struct room_write *write, const struct inbound *inbound)
{
    if (inbound->missing_prev.len)
        return false;
    for (size_t i = 0; i < write->head_count; i++)
        if (!names_head(inbound, write->head_nids[i]))
            return false;
    for (size_t i = 0; i < inbound->event->prev_events.len; i++)
        if (!is_head(write, inbound->prev[i].nid))
            return false;
    return true;
}

/* Over the prev events: those known here by what stands after them, the missing ones by the sets that were given for them. */
static enum fault state_before(struct reception *reception, struct room_write *write, const struct inbound *inbound,
                               struct stored_state *out)
{
    if (names_all_heads(write, inbound)) {
        *out = write->state;
        return FAULT_OK;
    }
    size_t prev_count = inbound->event->prev_events.len, known = 0, sets = 0, from = 0;
    size_t given = !reception->state_given ? 0 : reception->state_ends.len ? reception->state_ends.len : 1;
    struct after_state *states = arena_new_array(write->call->arena, prev_count, struct after_state);
    struct state_map *maps = arena_new_array(write->call->arena, prev_count + given, struct state_map), resolved;
    for (size_t i = 0; i < prev_count; i++) {
        const struct known_event *prev = &inbound->prev[i];
        if (known_event_has_state(prev))
            states[known++] = (struct after_state){.event_nid = prev->nid,
                                                   .snapshot_nid = prev->snapshot_nid,
                                                   .state_key_nid = prev->state_key_nid,
                                                   .rejected = prev->flags & EVENT_REJECTED};
    }
    enum fault fault = after_states_load(write, states, known);
    if (fault)
        return fault;
    for (; sets < known; sets++)
        maps[sets] = states[sets].map;
    for (size_t i = 0; i < given; i++) {
        size_t end = reception->state_ends.len ? (size_t)reception->state_ends.at[i] : reception->state_event_ids.len;
        if (end < from || end > reception->state_event_ids.len)
            return FAULT_BAD_JSON;
        if ((fault = given_map(reception, write, (struct slices){reception->state_event_ids.at + from, end - from}, &maps[sets++])))
            return fault;
        from = end;
    }
    if ((fault = resolve_states(write, maps, sets, &resolved)))
        return fault;
    return store_state(write, resolved, states, known, out);
}

/* ---- the state after: over all heads the room has now */
static enum fault sole_head_after(struct room_write *write, const struct pending_event *pending)
{
    struct state_pair own = {pending->state_key_nid, pending->nid};
    room_write_set_heads(write, &pending->nid, &pending->event->event_id, 1);
    return own.key ? room_write_derive(write, &write->state, (struct state_map){&own, 1}, &write->state) : FAULT_OK;
}

static enum fault heads_after(struct room_write *write, const struct inbound *inbound, const struct pending_event *pending,
                              const struct stored_state *before)
{
    struct arena *arena = write->call->arena;
    int64_t *nids = arena_new_array(arena, write->head_count + 1, int64_t);
    struct slice *ids = arena_new_array(arena, write->head_count + 1, struct slice);
    size_t count = 0;
    for (size_t i = 0; i < write->head_count; i++) {
        if (names_head(inbound, write->head_nids[i]))
            continue;
        nids[count] = write->head_nids[i];
        ids[count++] = write->head_ids[i];
    }
    nids[count] = pending->nid;
    ids[count++] = inbound->event->event_id;
    room_write_set_heads(write, nids, ids, count);

    /* The others' states come from their rows, the new event's from here. */
    struct after_state *states = arena_new_array(arena, count, struct after_state);
    struct event_rows rows;
    enum fault fault = event_rows_by_nid(write->call, (struct i64s){nids, count - 1}, &rows);
    if (fault)
        return fault;
    for (size_t i = 0; i + 1 < count; i++) {
        const struct event_row *row = event_rows_find(&rows, nids[i]);
        ensure(row);
        states[i] = (struct after_state){.event_nid = row->event_nid, .snapshot_nid = row->snapshot_nid};
        if (!slice_is_absent(row->state_key) &&
            (fault = state_keys_intern(write->call, &row->type, &row->state_key, 1, &states[i].state_key_nid)))
            return fault;
    }
    states[count - 1] = (struct after_state){.event_nid = pending->nid, .state_key_nid = pending->state_key_nid, .before = *before};
    if ((fault = after_states_load(write, states, count)))
        return fault;
    struct state_map *maps = arena_new_array(arena, count, struct state_map), resolved;
    for (size_t i = 0; i < count; i++)
        maps[i] = states[i].map;
    if ((fault = resolve_states(write, maps, count, &resolved)))
        return fault;
    return store_state(write, resolved, states, count, &write->state);
}

/* History that came without its state passes that on: only below the create event the empty state is the true one. */
static bool prev_states_known(const struct inbound *inbound)
{
    for (size_t i = 0; i < inbound->event->prev_events.len; i++)
        if (inbound->prev[i].snapshot_nid == 0 && !inbound->prev[i].is_create)
            return false;
    return true;
}

static enum fault receive_placed(struct reception *reception, struct room_write *write, struct inbound *inbound, const char **why)
{
    struct call *call = write->call;
    const struct event *event = inbound->event;
    const bool history = reception->mode == RECEIVE_BACKFILL, given = reception->state_given;
    if (inbound->self.nid && !(inbound->self.flags & EVENT_OUTLIER)) {
        reception->soft_failed = inbound->self.flags & EVENT_SOFT_FAILED;
        return FAULT_OK;
    }
    bool auth_known = inbound->missing.len == inbound->missing_prev.len;
    if (!auth_known || (inbound->missing_prev.len && !given && !history))
        return FAULT_MISSING_EVENTS;

    const bool linear = names_all_heads(write, inbound);
    enum fault fault, verdict = inbound_check_auth_events(call, write->room, inbound, why);
    if (verdict && verdict != FAULT_REJECTED)
        return verdict;
    struct stored_state before = {0};
    bool state_known = true;
    if (!given && (inbound->missing_prev.len || (history && !prev_states_known(inbound)))) {
        state_known = false;
    } else if ((fault = state_before(reception, write, inbound, &before))) {
        return fault;
    }
    reception->state_given = false;
    if (!verdict && state_known) {
        verdict = inbound_check_state(write, event, before.map, why);
        if (verdict && verdict != FAULT_REJECTED)
            return verdict;
    }
    bool soft_failed = false;
    if (!verdict && !history) {
        const char *soft_why = NULL;
        fault = inbound_check_state(write, event, write->state.map, &soft_why);
        if (fault && fault != FAULT_REJECTED)
            return fault;
        soft_failed = fault == FAULT_REJECTED || reception->not_recommended;
    }

    int64_t *prev = arena_new_array(call->arena, event->prev_events.len, int64_t);
    int64_t *auth = arena_new_array(call->arena, event->auth_events.len, int64_t);
    size_t prev_count = 0;
    for (size_t i = 0; i < event->prev_events.len; i++)
        if (inbound->prev[i].nid)
            prev[prev_count++] = inbound->prev[i].nid;
    for (size_t i = 0; i < event->auth_events.len; i++)
        auth[i] = inbound->auth[i].nid;
    struct pending_event pending = {
        .event = inbound->event,
        .nid = inbound->self.nid,
        .was_outlier = inbound->self.nid != 0,
        .flags = (verdict ? EVENT_REJECTED : 0) | (soft_failed ? EVENT_SOFT_FAILED : 0) | (history ? EVENT_BACKFILLED : 0) |
                 (reception->distribute && !verdict && !soft_failed ? EVENT_LOCAL : 0) | (event_is_state(event) ? EVENT_STATE : 0),
        .snapshot_nid = before.snapshot_nid,
        .prev_nids = {prev, prev_count},
        .auth_nids = {auth, event->auth_events.len},
        .missing_prev = inbound->absent_prev,
    };
    if (event_is_state(event)) {
        if ((fault = state_keys_intern(call, &event->type, &event->state_key, 1, &pending.state_key_nid)))
            return fault;
        pending.replaces_nid = state_map_get(before.map, pending.state_key_nid);
    }
    if (history && (reception->backfill_base > 0 || write->tail_pos < reception->backfill_lowest)) {
        reception->backfill_base = write->tail_pos; /* the first one, or another process added history meanwhile */
        reception->backfill_lowest = write->tail_pos - reception->backfill_left;
    }
    pending.room_pos = history ? reception->backfill_base - reception->backfill_left : ++write->head_pos;
    if ((fault = room_write_add(write, pending)))
        return fault;
    struct pending_event *added = &write->events[write->count - 1];
    if (history)
        write->tail_pos = write->tail_pos < added->room_pos ? write->tail_pos : added->room_pos;
    else if (!verdict && !soft_failed) {
        if (write->depth < event->depth)
            write->depth = event->depth;
        if ((fault = linear ? sole_head_after(write, added) : heads_after(write, inbound, added, &before)))
            return fault;
        added->is_current = added->state_key_nid && state_map_get(write->state.map, added->state_key_nid) == added->nid;
    }
    if ((fault = room_write_commit(write)))
        return fault;
    reception->soft_failed = soft_failed;
    return verdict;
}

/* In memory of its own: what a PDU needs is free again before the next one. */
static enum fault receive_one(struct reception *reception, struct slice pdu, struct slices *missing, const char **why)
{
    for (int race = 0;; race++) {
        struct hot_room *room;
        struct inbound inbound;
        enum fault fault = hot_room_get(reception->call, reception->room_id, &room);
        if (fault || (fault = inbound_parse(reception->call, room->version, reception->room_id, pdu, &inbound, why)) ||
            (fault = inbound_lookup(reception->call, room, &inbound, why)))
            return fault;
        struct room_write write;
        room_write_begin(&write, reception->call, room, 1);
        *missing = inbound.missing;
        bool given = reception->state_given;
        fault = reception->mode == RECEIVE_OUTLIER ? receive_outlier(&write, &inbound, why)
                                                   : receive_placed(reception, &write, &inbound, why);
        if (fault == FAULT_MISSING_EVENTS && reception->unknown.len)
            *missing = reception->unknown;
        if (fault != FAULT_CONFLICT || race == RACES_MAX)
            return fault;
        reception->state_given = given;
    }
}

enum fault answer_room_receive(struct call *call, const struct room_receive_request *request, struct room_receive_reply *reply)
{
    size_t count = request->pdus.len, missing_count = 0;
    int64_t *results = arena_new_array(call->arena, count, int64_t), *soft_failed = arena_new_array(call->arena, count, int64_t);
    struct slice *whys = arena_new_array(call->arena, count, struct slice);
    struct slice *all_missing = arena_new_array(call->arena, count * (PREV_EVENTS_MAX + AUTH_EVENTS_MAX), struct slice);
    struct reception reception = {.call = call,
                                  .room_id = request->room_id,
                                  .mode = (enum receive_mode)request->mode,
                                  .backfill_base = 1,
                                  .distribute = request->distribute,
                                  .state_event_ids = request->state_event_ids,
                                  .state_ends = request->state_ends,
                                  .state_given = request->state_event_ids.len > 0};
    struct arena *outer = call->arena, *arena = arena_child(outer);
    for (size_t i = 0; i < count; i++) {
        const char *why = NULL;
        struct slices missing = {NULL, 0};
        reception.backfill_left = (int64_t)(count - i);
        call->arena = arena;
        reception.soft_failed = false;
        reception.not_recommended = i < request->not_recommended.len && request->not_recommended.at[i];
        enum fault fault = receive_one(&reception, request->pdus.at[i], &missing, &why);
        call->arena = outer;
        if (fault_facts(fault)->retryable && fault != FAULT_MISSING_EVENTS)
            return fault; /* the whole call is repeatable: what is stored already answers OK next time */
        results[i] = fault;
        soft_failed[i] = reception.soft_failed;
        whys[i] = slice_from_cstr(why);
        for (size_t k = 0; fault == FAULT_MISSING_EVENTS && k < missing.len && k < PREV_EVENTS_MAX + AUTH_EVENTS_MAX; k++)
            all_missing[missing_count++] = arena_copy(outer, missing.at[k]);
        arena_reset(arena);
    }
    reply->results = (struct i64s){results, count};
    reply->missing = (struct slices){all_missing, missing_count};
    reply->whys = (struct slices){whys, count};
    reply->soft_failed = (struct i64s){soft_failed, count};
    return FAULT_OK;
}
