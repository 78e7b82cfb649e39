/* The interning of state keys; see state_keys.h. */
#include "workers/events/state_keys.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/lru.h"
#include "lib/base/map.h"
#include "workers/events/queries.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lru *cache; /* "type\0state_key" → the number itself as the pointer */

void state_keys_start(size_t cache_bytes)
{
    cache = lru_create(cache_bytes, NULL);
}

static struct slice cache_key(struct arena *arena, struct slice type, struct slice state_key)
{
    return arena_concat(arena, (struct slice[]){type, slice_of("", 1), state_key}, 3);
}

static void remember(struct slice key, int64_t nid)
{
    pthread_mutex_lock(&lock);
    lru_put(cache, key, (void *)(intptr_t)nid, 32);
    pthread_mutex_unlock(&lock);
}

/* The pairs whose number is not known yet. */
struct unknown {
    struct slice *types, *keys;
    size_t count;
};

static struct unknown unknown_of(struct arena *arena, const struct slice *types, const struct slice *state_keys, size_t count,
                                 const int64_t *nids)
{
    struct unknown unknown = {arena_new_array(arena, count, struct slice), arena_new_array(arena, count, struct slice), 0};
    for (size_t i = 0; i < count; i++) {
        if (nids[i])
            continue;
        unknown.types[unknown.count] = types[i];
        unknown.keys[unknown.count++] = state_keys[i];
    }
    return unknown;
}

static struct slice *recall(struct call *call, const struct slice *types, const struct slice *state_keys, size_t count,
                            int64_t *nids)
{
    struct slice *keys = arena_new_array(call->arena, count, struct slice);
    for (size_t i = 0; i < count; i++)
        keys[i] = cache_key(call->arena, types[i], state_keys[i]);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count; i++)
        nids[i] = (intptr_t)lru_get(cache, keys[i]);
    pthread_mutex_unlock(&lock);
    return keys;
}

static void fill_in(const struct map *found, const struct slice *keys, size_t count, int64_t *nids)
{
    for (size_t i = 0; i < count; i++)
        if (!nids[i])
            map_get_i64(found, keys[i], &nids[i]);
}

enum fault state_keys_find(struct call *call, const struct slice *types, const struct slice *state_keys, size_t count,
                           int64_t *nids)
{
    struct slice *keys = recall(call, types, state_keys, count, nids);
    struct unknown unknown = unknown_of(call->arena, types, state_keys, count, nids);
    if (unknown.count == 0)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result =
        q_state_key_find(batch, (struct slices){unknown.types, unknown.count}, (struct slices){unknown.keys, unknown.count});
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    struct state_key_find_row row;
    struct map *found = map_create(call->arena);
    while (state_key_find_next(result, &row)) {
        struct slice key = cache_key(call->arena, row.type, row.state_key);
        remember(key, row.state_key_nid);
        map_put_i64(found, key, row.state_key_nid);
    }
    fill_in(found, keys, count, nids);
    return FAULT_OK;
}

enum fault state_keys_intern(struct call *call, const struct slice *types, const struct slice *state_keys, size_t count,
                             int64_t *nids)
{
    struct slice *keys = recall(call, types, state_keys, count, nids);
    struct unknown unknown = unknown_of(call->arena, types, state_keys, count, nids);
    /* A concurrent insert of the same pair is invisible to the statement that lost: the second round reads it. */
    for (int round = 0; unknown.count && round < 3; round++) {
        struct db_batch *batch = call_batch(call);
        struct db_result *result =
            q_state_key_intern(batch, (struct slices){unknown.types, unknown.count}, (struct slices){unknown.keys, unknown.count});
        enum fault fault = db_run(batch);
        if (fault)
            return fault;
        struct state_key_intern_row row;
        struct map *found = map_create(call->arena);
        while (state_key_intern_next(result, &row)) {
            struct slice key = cache_key(call->arena, row.type, row.state_key);
            remember(key, row.state_key_nid);
            map_put_i64(found, key, row.state_key_nid);
        }
        fill_in(found, keys, count, nids);
        unknown = unknown_of(call->arena, types, state_keys, count, nids);
    }
    return unknown.count ? FAULT_CONFLICT : FAULT_OK;
}
