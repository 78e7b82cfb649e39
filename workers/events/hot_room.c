/* Rooms in memory; see hot_room.h. */
#include "workers/events/hot_room.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/lru.h"
#include "lib/store/event_row.h"
#include "workers/events/auth_dag.h"
#include "workers/events/queries.h"
#include "workers/events/state_keys.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lru *cache; /* room id → struct hot_room; holds one reference */

enum {
    BULK = 64,                         /* events at once: a resolution's, not worth keeping */
    PARSED_KEPT_MAX = 4 * 1024 * 1024, /* of one room, from one call to the next: some hundred events */
};

static void *copy_bytes(const void *bytes, size_t size)
{
    void *copy = malloc(size ? size : 1);
    ensure(copy);
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

static struct slice copy_slice(struct slice s)
{
    return slice_of(copy_bytes(s.at, s.len), s.len);
}

static void state_free(struct hot_state *state)
{
    if (!state)
        return;
    for (size_t i = 0; i < state->layer_count; i++)
        free((void *)state->layers[i].delta.pairs);
    free(state->layers);
    free((void *)state->map.pairs);
    free(state);
}

static void heads_free(struct hot_room *room)
{
    for (size_t i = 0; i < room->extremity_count; i++)
        free((void *)room->extremity_ids[i].at);
    free(room->extremities);
    free(room->extremity_ids);
}

static void room_free(struct hot_room *room)
{
    state_free(room->state);
    heads_free(room);
    map_destroy(&room->events);
    arena_destroy(&room->parsed);
    auth_dag_destroy(&room->auth_dag);
    map_destroy(&room->servers);
    free((void *)room->room_id.at);
    free(room);
}

static void room_unreference(void *value) /* under the lock */
{
    struct hot_room *room = value;
    if (--room->references == 0)
        room_free(room);
}

void hot_rooms_start(size_t cache_bytes)
{
    cache = lru_create(cache_bytes, room_unreference);
}

static void release(void *room) /* deferred: the call that held it ends */
{
    pthread_mutex_lock(&lock);
    room_unreference(room);
    pthread_mutex_unlock(&lock);
}

void hot_room_drop(struct slice room_id)
{
    pthread_mutex_lock(&lock);
    lru_remove(cache, room_id);
    pthread_mutex_unlock(&lock);
}

void hot_room_keep(struct hot_room *room)
{
    pthread_mutex_lock(&lock);
    room->references++;
    lru_put(cache, room->room_id, room, room->bytes + auth_dag_bytes(room->auth_dag));
    pthread_mutex_unlock(&lock);
}

struct hot_room *hot_room_new(struct call *call, int64_t room_nid, struct slice room_id, const struct room_version *version)
{
    struct hot_room *room = calloc(1, sizeof *room);
    ensure(room);
    *room = (struct hot_room){.version = version,
                              .room_id = copy_slice(room_id),
                              .room_nid = room_nid,
                              .events = map_create(NULL),
                              .parsed = arena_create(SIZE_MAX / 2),
                              .bytes = sizeof *room + 512,
                              .references = 1};
    hot_room_set_state(room, (struct state_map){NULL, 0}, NULL, 0);
    arena_defer(call->arena, release, room);
    return room;
}

void hot_room_set_heads(struct hot_room *room, const int64_t *nids, const struct slice *event_ids, size_t count)
{
    int64_t *new_nids = copy_bytes(nids, count * sizeof *nids);
    struct slice *new_ids = calloc(count ? count : 1, sizeof *new_ids);
    ensure(new_ids);
    for (size_t i = 0; i < count; i++)
        new_ids[i] = copy_slice(event_ids[i]);
    heads_free(room);
    room->extremities = new_nids;
    room->extremity_ids = new_ids;
    room->extremity_count = count;
}

void hot_room_set_state(struct hot_room *room, struct state_map map, const struct state_layer *layers, size_t layer_count)
{
    struct hot_state *state = calloc(1, sizeof *state);
    ensure(state);
    state->map = (struct state_map){copy_bytes(map.pairs, map.count * sizeof *map.pairs), map.count};
    state->layers = calloc(layer_count ? layer_count : 1, sizeof *layers);
    ensure(state->layers);
    state->layer_count = layer_count;
    size_t bytes = map.count * sizeof *map.pairs;
    for (size_t i = 0; i < layer_count; i++) {
        state->layers[i] = layers[i];
        state->layers[i].delta.pairs = copy_bytes(layers[i].delta.pairs, layers[i].delta.count * sizeof *map.pairs);
        bytes += layers[i].delta.count * sizeof *map.pairs + sizeof *layers;
    }
    if (room->state)
        room->bytes -= room->state->map.count * sizeof *map.pairs * 2;
    room->bytes += bytes;
    state_free(room->state);
    room->state = state;
}

/* Only where a call begins with the room: whoever got events from it before is done with them. */
static void forget_parsed(struct hot_room *room)
{
    if (arena_used(room->parsed) <= PARSED_KEPT_MAX)
        return;
    room->bytes -= arena_used(room->parsed);
    map_destroy(&room->events);
    room->events = map_create(NULL);
    arena_reset(room->parsed);
}

static struct hot_room *cached(struct call *call, struct slice room_id)
{
    pthread_mutex_lock(&lock);
    struct hot_room *room = lru_get(cache, room_id);
    bool is_idle = room && room->references++ == 1; /* nobody but the cache has it */
    pthread_mutex_unlock(&lock);
    if (room)
        arena_defer(call->arena, release, room);
    if (is_idle)
        forget_parsed(room);
    return room;
}

enum fault hot_room_get(struct call *call, struct slice room_id, struct hot_room **out)
{
    struct hot_room *room = cached(call, room_id);
    if (room) {
        *out = room;
        return FAULT_OK;
    }
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_room_load(batch, room_id);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    struct room_load_row row;
    if (!room_load_next(result, &row))
        return FAULT_NOT_FOUND;
    const struct room_version *version = room_version_find(row.room_version);
    if (!version)
        return FAULT_UNSUPPORTED_ROOM_VERSION;
    ensure(row.extremities.len == row.extremity_ids.len);
    struct state_chain chain;
    if ((fault = state_chains_load(call, (struct i64s){&row.snapshot_nid, 1}, &chain)))
        return fault;
    room = hot_room_new(call, row.room_nid, room_id, version);
    room->db_version = row.version;
    room->depth = row.depth;
    room->head_pos = row.head_pos;
    room->tail_pos = row.tail_pos;
    room->snapshot_nid = row.snapshot_nid;
    hot_room_set_heads(room, row.extremities.at, row.extremity_ids.at, row.extremities.len);
    hot_room_set_state(room, state_chain_read(call->arena, chain.layers, chain.count), chain.layers, chain.count);
    hot_room_keep(room);
    *out = room;
    return FAULT_OK;
}

static struct slice nid_key(const int64_t *nid)
{
    return slice_of(nid, sizeof *nid);
}

/* A stored event of this room: it was parsed by the room's version when it came in. */
static struct event *parse(struct arena *arena, const struct hot_room *room, const struct event_row *row)
{
    struct event *event = NULL;
    ensure(row->room_nid == room->room_nid);
    ensure(event_parse_history(arena, room->version, row->json, &event, NULL) == FAULT_OK);
    event->rejected = row->flags & EVENT_REJECTED;
    return event;
}

static struct event *remember(struct hot_room *room, const struct event_row *row)
{
    size_t before = arena_used(room->parsed);
    struct event_row kept = *row;
    kept.json = arena_copy(room->parsed, row->json);
    struct event *event = parse(room->parsed, room, &kept);
    map_put(room->events, nid_key(&row->event_nid), event);
    room->bytes += arena_used(room->parsed) - before;
    return event;
}

enum fault hot_room_events(struct call *call, struct hot_room *room, const int64_t *nids, size_t count, struct event **out)
{
    int64_t *missing = arena_new_array(call->arena, count, int64_t);
    size_t missing_count = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = nids[i] ? map_get(room->events, nid_key(&nids[i])) : NULL;
        if (!out[i] && nids[i])
            missing[missing_count++] = nids[i];
    }
    if (missing_count == 0)
        return FAULT_OK; /* the hot path */
    struct event_rows rows;
    enum fault fault = event_rows_by_nid(call, (struct i64s){missing, missing_count}, &rows);
    if (fault)
        return fault;
    struct map *loaded = map_create(call->arena);
    for (size_t i = 0; i < rows.count; i++)
        map_put(loaded, nid_key(&rows.at[i].event_nid),
                rows.count > BULK ? parse(call->arena, room, &rows.at[i]) : remember(room, &rows.at[i]));
    for (size_t i = 0; i < count; i++) {
        if (out[i] || !nids[i])
            continue;
        out[i] = map_get(loaded, nid_key(&nids[i]));
        ensure(out[i]); /* state refers to stored events only */
    }
    return FAULT_OK;
}

enum fault room_state_needed(struct call *call, struct hot_room *room, struct state_map state, const struct state_need *needs,
                             size_t count, struct event **out, int64_t *nids)
{
    struct slice types[STATE_NEEDS_MAX] = {0}, keys[STATE_NEEDS_MAX] = {0};
    int64_t key_nids[STATE_NEEDS_MAX], event_nids[STATE_NEEDS_MAX];
    ensure(count <= STATE_NEEDS_MAX);
    for (size_t i = 0; i < count; i++) {
        types[i] = slice_from_cstr(needs[i].type);
        keys[i] = needs[i].state_key;
    }
    enum fault fault = state_keys_find(call, types, keys, count, key_nids);
    if (fault)
        return fault;
    for (size_t i = 0; i < count; i++)
        event_nids[i] = state_map_get(state, key_nids[i]);
    if (nids)
        memcpy(nids, event_nids, count * sizeof *nids);
    return hot_room_events(call, room, event_nids, count, out);
}

struct auth_dag *hot_room_auth_dag(struct hot_room *room)
{
    if (!room->auth_dag)
        room->auth_dag = auth_dag_create();
    return room->auth_dag;
}

enum fault hot_room_servers(struct call *call, struct hot_room *room, struct slices *out)
{
    if (!room->servers) {
        struct db_batch *batch = call_batch(call);
        struct db_result *result = q_joined_servers(batch, room->room_nid);
        enum fault fault = db_run(batch);
        if (fault)
            return fault;
        struct joined_servers_row row;
        room->servers = map_create(NULL);
        while (joined_servers_next(result, &row))
            map_put_i64(room->servers, row.server, row.members);
    }
    struct slice *servers = arena_new_array(call->arena, map_count(room->servers), struct slice), server;
    size_t count = 0;
    for (size_t at = 0; map_next_i64(room->servers, &at, &server, NULL);)
        servers[count++] = arena_copy(call->arena, server);
    *out = (struct slices){servers, count};
    return FAULT_OK;
}
