/* message room_import: the answer of send_join makes the room here, or brings it up to date after nobody of us was in it.
 * The bulk (state and auth chain) goes in first, in chunks that nobody can see: outliers of a room without heads. One last write
 * batch then gives the room its state, its memberships and the join event, so that the horizon is held for that only (DESIGN §8).
 */
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/matrix/auth_rules.h"
#include "lib/store/event_row.h"
#include "proto/dispatch.h"
#include "workers/events/inbound.h"
#include "workers/events/nids.h"
#include "workers/events/queries.h"
#include "workers/events/state_keys.h"

enum { CHUNK = 500 };

struct imported {
    struct event *event;
    int64_t nid; /* 0: not stored yet */
    bool known, placed, is_state;
    struct i64s auth_nids;
};

struct import {
    struct call *call;
    const struct room_version *version;
    struct slice room_id;
    struct imported *events; /* after sort: auth events before those that name them */
    size_t count;
    struct map *by_id; /* event id → struct imported */
    const struct event *create;
};

static void import_collect(struct import *import, struct slices texts, bool is_state)
{
    for (size_t i = 0; i < texts.len; i++) {
        struct inbound inbound;
        const char *why = "not an event";
        if (inbound_parse(import->call, import->version, import->room_id, texts.at[i], &inbound, &why)) {
            log_event(LOG_WARN, "an event of a send_join answer is left out", LOG_STR("room", import->room_id),
                      LOG_CSTR("why", why));
            continue;
        }
        struct imported *known = map_get(import->by_id, inbound.event->event_id);
        if (known) {
            known->is_state |= is_state;
            continue;
        }
        struct imported *added = &import->events[import->count++];
        *added = (struct imported){.event = inbound.event, .is_state = is_state};
        map_put(import->by_id, inbound.event->event_id, added);
        if (event_is(inbound.event, "m.room.create"))
            import->create = inbound.event;
    }
}

/* Depth-first, without recursion: an event goes out when all its auth events are out. Those with unknown auth events never do. */
static void import_sort(struct import *import)
{
    struct arena *arena = import->call->arena;
    struct imported *sorted = arena_new_array(arena, import->count, struct imported);
    struct imported **stack = arena_new_array(arena, import->count + 1, struct imported *);
    uint8_t *state = arena_new_array(arena, import->count, uint8_t); /* 0 new, 1 open, 2 out, 3 impossible */
    size_t out = 0;
    for (size_t i = 0; i < import->count; i++) {
        size_t depth = 0;
        stack[depth++] = &import->events[i];
        while (depth) {
            struct imported *top = stack[depth - 1];
            size_t at = (size_t)(top - import->events), open = depth;
            if (state[at] >= 2) {
                depth--;
                continue;
            }
            state[at] = 1;
            bool possible = true;
            for (size_t k = 0; k < top->event->auth_events.len && possible; k++) {
                struct imported *auth = map_get(import->by_id, top->event->auth_events.at[k]);
                size_t auth_at = auth ? (size_t)(auth - import->events) : 0;
                possible = auth && state[auth_at] != 3 && state[auth_at] != 1;
                if (possible && state[auth_at] == 0 && depth <= import->count && open == depth)
                    stack[depth++] = auth;
            }
            if (possible && depth > open)
                continue; /* its auth event first, then this one again */
            depth = open - 1;
            state[at] = possible ? 2 : 3;
            if (possible)
                sorted[out++] = *top;
        }
    }
    if (out < import->count)
        log_event(LOG_WARN, "events of a send_join answer lack auth events", LOG_STR("room", import->room_id),
                  LOG_I64("left_out", (int64_t)(import->count - out)));
    import->events = sorted;
    import->count = out;
    import->by_id = map_create(arena);
    for (size_t i = 0; i < out; i++)
        map_put(import->by_id, sorted[i].event->event_id, &sorted[i]);
}

static void import_authorise(struct import *import)
{
    for (size_t i = 0; i < import->count; i++) {
        struct event *event = import->events[i].event;
        const struct event **auth = arena_new_array(import->call->arena, event->auth_events.len + 1, const struct event *);
        size_t count = event->auth_events.len;
        for (size_t k = 0; k < count; k++)
            auth[k] = ((struct imported *)map_get(import->by_id, event->auth_events.at[k]))->event;
        const char *why = NULL;
        bool implied = import->version->room_id_is_create_hash && import->create;
        enum fault fault = event_is(event, "m.room.create")
                               ? FAULT_OK
                               : auth_check_auth_events(event, auth, count, implied ? event->room_id : SLICE_ABSENT, &why);
        if (implied && event != import->create)
            auth[count++] = import->create;
        struct event_list_view view = event_list_view(auth, count);
        if (fault == FAULT_OK)
            fault = auth_check_state(import->call->arena, event, &view.view, &why);
        event->rejected = fault != FAULT_OK;
        if (fault)
            log_event(LOG_WARN, "an event of a send_join answer is rejected", LOG_STR("event", event->event_id),
                      LOG_CSTR("why", why));
    }
}

static enum fault import_lookup(struct import *import, const struct hot_room *room)
{
    struct slice *ids = arena_new_array(import->call->arena, import->count, struct slice);
    for (size_t i = 0; i < import->count; i++)
        ids[i] = import->events[i].event->event_id;
    struct db_batch *batch = call_batch(import->call);
    struct db_result *result = q_event_nids_of(batch, (struct slices){ids, import->count}, room->room_nid);
    enum fault fault = db_run(batch);
    struct event_nids_of_row row;
    while (!fault && event_nids_of_next(result, &row)) {
        struct imported *event = map_get(import->by_id, row.event_id);
        if (!row.is_here)
            return FAULT_BAD_JSON; /* versions 1 and 2: the id of an event of another room */
        event->nid = row.event_nid;
        event->known = true;
    }
    return fault;
}

static void add_chunk(struct import *import, struct db_batch *batch, int64_t room_nid, struct imported **chunk, size_t count)
{
    struct arena *arena = import->call->arena;
    int64_t *nids = arena_new_array(arena, count, int64_t), *depths = arena_new_array(arena, count, int64_t);
    int64_t *stamps = arena_new_array(arena, count, int64_t), *flags = arena_new_array(arena, count, int64_t);
    int64_t *flat = arena_new_array(arena, count * AUTH_EVENTS_MAX * 2, int64_t), *ends = arena_new_array(arena, count, int64_t);
    struct slice *ids = arena_new_array(arena, count, struct slice), *types = arena_new_array(arena, count, struct slice);
    struct slice *keys = arena_new_array(arena, count, struct slice), *senders = arena_new_array(arena, count, struct slice);
    struct slice *texts = arena_new_array(arena, count, struct slice);
    size_t flat_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct event *event = chunk[i]->event;
        nids[i] = chunk[i]->nid;
        ids[i] = event->event_id;
        depths[i] = event->depth;
        types[i] = event->type;
        keys[i] = event->state_key;
        senders[i] = event->sender;
        stamps[i] = event->origin_server_ts;
        flags[i] = EVENT_OUTLIER | (event->rejected ? EVENT_REJECTED : 0) | (event_is_state(event) ? EVENT_STATE : 0);
        texts[i] = event->raw;
        for (size_t k = 0; k < chunk[i]->auth_nids.len && k < AUTH_EVENTS_MAX * 2; k++)
            flat[flat_count++] = chunk[i]->auth_nids.at[k];
        ends[i] = (int64_t)flat_count;
    }
    q_outlier_insert(batch, (struct i64s){nids, count}, (struct slices){ids, count}, room_nid, (struct i64s){depths, count},
                     (struct slices){types, count}, (struct slices){keys, count}, (struct slices){senders, count},
                     (struct i64s){stamps, count}, (struct i64s){flags, count}, (struct i64s){flat, flat_count},
                     (struct i64s){ends, count}, (struct slices){texts, count});
}

static enum fault import_store(struct import *import, const struct hot_room *room)
{
    struct arena *arena = import->call->arena;
    enum fault fault = import_lookup(import, room);
    int64_t *nids = arena_new_array(arena, import->count, int64_t);
    if (fault || (fault = nids_take(import->call, import->count, nids)))
        return fault;
    struct imported **chunk = arena_new_array(arena, CHUNK, struct imported *);
    size_t filled = 0;
    for (size_t i = 0; i < import->count; i++) {
        struct imported *event = &import->events[i];
        int64_t *auth = arena_new_array(arena, event->event->auth_events.len, int64_t);
        if (!event->known)
            event->nid = nids[i];
        for (size_t k = 0; k < event->event->auth_events.len; k++)
            auth[k] = ((struct imported *)map_get(import->by_id, event->event->auth_events.at[k]))->nid;
        event->auth_nids = (struct i64s){auth, event->event->auth_events.len};
        if (!event->known)
            chunk[filled++] = event;
        if (filled == CHUNK || (i + 1 == import->count && filled)) {
            struct db_batch *batch = call_batch(import->call);
            add_chunk(import, batch, room->room_nid, chunk, filled);
            if ((fault = db_run(batch)))
                return fault;
            filled = 0;
        }
    }
    return FAULT_OK;
}

static enum fault import_state_map(struct import *import, struct state_map *out)
{
    struct arena *arena = import->call->arena;
    struct slice *types = arena_new_array(arena, import->count, struct slice),
                 *keys = arena_new_array(arena, import->count, struct slice);
    int64_t *key_nids = arena_new_array(arena, import->count, int64_t);
    struct state_pair *pairs = arena_new_array(arena, import->count, struct state_pair);
    size_t count = 0;
    for (size_t i = 0; i < import->count; i++) {
        const struct imported *event = &import->events[i];
        if (!event->is_state || event->event->rejected || !event_is_state(event->event))
            continue;
        types[count] = event->event->type;
        keys[count] = event->event->state_key;
        pairs[count++].event = event->nid;
    }
    enum fault fault = state_keys_intern(import->call, types, keys, count, key_nids);
    for (size_t i = 0; i < count; i++)
        pairs[i].key = key_nids[i];
    *out = state_map_from(arena, pairs, count);
    return fault;
}

/* The last, small transaction: the room becomes visible. */
static enum fault import_join(struct import *import, struct hot_room *room, struct slice join_text, struct slice *event_id)
{
    struct call *call = import->call;
    struct inbound inbound;
    const char *why = NULL;
    struct state_map state;
    enum fault fault;
    if ((fault = inbound_parse(call, import->version, import->room_id, join_text, &inbound, &why)) ||
        (fault = inbound_lookup(call, room, &inbound, &why)) || (fault = import_state_map(import, &state)))
        return fault;
    *event_id = inbound.event->event_id;
    if (inbound.self.nid && !(inbound.self.flags & EVENT_OUTLIER))
        return FAULT_OK;
    if (inbound.missing.len > inbound.missing_prev.len)
        return FAULT_MISSING_EVENTS;
    struct room_write write;
    room_write_begin(&write, call, room, 1);
    struct stored_state before;
    if ((fault = room_write_derive(&write, &write.state, state_map_diff(call->arena, write.state.map, state), &before)))
        return fault;
    write.state = before;
    if ((fault = inbound_check_state(&write, inbound.event, before.map, &why))) {
        call->why = slice_from_cstr(why);
        return fault;
    }
    int64_t *auth = arena_new_array(call->arena, inbound.event->auth_events.len, int64_t);
    for (size_t i = 0; i < inbound.event->auth_events.len; i++)
        auth[i] = inbound.auth[i].nid;
    int64_t *prev = arena_new_array(call->arena, inbound.event->prev_events.len, int64_t);
    size_t prev_count = 0;
    for (size_t i = 0; i < inbound.event->prev_events.len; i++)
        if (inbound.prev[i].nid)
            prev[prev_count++] = inbound.prev[i].nid;
    struct pending_event pending = {.event = inbound.event,
                                    .nid = inbound.self.nid,
                                    .was_outlier = inbound.self.nid != 0,
                                    .flags = EVENT_STATE,
                                    .auth_nids = {auth, inbound.event->auth_events.len},
                                    .missing_prev = inbound.absent_prev};
    if ((fault = state_keys_intern(call, &inbound.event->type, &inbound.event->state_key, 1, &pending.state_key_nid)))
        return fault;
    room_write_set_heads(&write, NULL, NULL, 0); /* older heads of ours are history: the join stands above all of them */
    write.depth = 0;
    if ((fault = room_write_append(&write, pending)))
        return fault;
    write.events[0].prev_nids = (struct i64s){prev, prev_count};
    return room_write_commit(&write);
}

enum fault answer_room_import(struct call *call, const struct room_import_request *request, struct room_import_reply *reply)
{
    struct import import = {.call = call, .version = room_version_find(request->room_version), .room_id = request->room_id};
    if (!import.version)
        return FAULT_UNSUPPORTED_ROOM_VERSION;
    import.by_id = map_create(call->arena);
    import.events = arena_new_array(call->arena, request->state.len + request->auth_chain.len, struct imported);
    import_collect(&import, request->auth_chain, false);
    import_collect(&import, request->state, true);
    import_sort(&import);
    import_authorise(&import);

    int64_t room_nid;
    enum fault fault = nid_take(call, &room_nid);
    if (fault)
        return fault;
    struct db_batch *batch = call_batch(call);
    q_room_insert(batch, room_nid, request->room_id, request->room_version);
    if ((fault = db_run(batch)))
        return fault;
    for (int race = 0;; race++) {
        struct hot_room *room;
        if ((fault = hot_room_get(call, request->room_id, &room)) || (fault = import_store(&import, room)) ||
            (fault = import_join(&import, room, request->join_event, &reply->event_id))) {
            if (fault == FAULT_CONFLICT && race < 5)
                continue;
            return fault;
        }
        return FAULT_OK;
    }
}
