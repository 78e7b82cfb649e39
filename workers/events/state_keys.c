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

enum fault state_keys_intern(struct call *call, const struct slice *types, const struct slice *state_keys, size_t count,
                             int64_t *nids)
{
    struct slice *keys = arena_new_array(call->arena, count, struct slice);
    struct slice *missing_types = arena_new_array(call->arena, count, struct slice);
    struct slice *missing_keys = arena_new_array(call->arena, count, struct slice);
    size_t missing = 0;
    for (size_t i = 0; i < count; i++)
        keys[i] = cache_key(call->arena, types[i], state_keys[i]);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count; i++)
        nids[i] = (intptr_t)lru_get(cache, keys[i]);
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < count; i++) {
        if (nids[i])
            continue;
        missing_types[missing] = types[i];
        missing_keys[missing++] = state_keys[i];
    }
    /* A concurrent insert of the same pair is invisible to the statement that lost: the second round reads it. */
    for (int round = 0; missing && round < 3; round++) {
        struct db_batch *batch = call_batch(call);
        struct db_result *result =
            q_state_key_intern(batch, (struct slices){missing_types, missing}, (struct slices){missing_keys, missing});
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
        for (size_t i = 0; i < count; i++)
            if (!nids[i])
                map_get_i64(found, keys[i], &nids[i]);
        missing = 0;
        for (size_t i = 0; i < count; i++) {
            if (nids[i])
                continue;
            missing_types[missing] = types[i];
            missing_keys[missing++] = state_keys[i];
        }
    }
    return missing ? FAULT_CONFLICT : FAULT_OK;
}
