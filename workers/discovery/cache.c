/* An lru of counted values and a list of the questions under way. Whoever finds nothing enters his question in the list and is the
 * one to answer it; the others sleep until the list changes. Both are few: handler threads bound them. */
#include "workers/discovery/cache.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/lru.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct entry {
    atomic_int references;
    struct cache_value value; /* its bytes follow */
};

/* In the arena of the one who answers. */
struct flight {
    struct cache *cache;
    struct flight *next;
    struct slice key;
    bool is_over;
};

struct cache {
    pthread_mutex_t lock;
    pthread_cond_t landed;
    struct lru *entries;
    struct flight *flights;
};

static void entry_release(void *object)
{
    struct entry *entry = object;
    if (entry && atomic_fetch_sub(&entry->references, 1) == 1)
        free(entry);
}

struct cache *cache_create(size_t limit_bytes)
{
    struct cache *cache = calloc(1, sizeof *cache);
    ensure(cache);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&cache->landed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&cache->lock, NULL);
    cache->entries = lru_create(limit_bytes, entry_release);
    return cache;
}

void cache_destroy(struct cache **cache)
{
    if (!*cache)
        return;
    lru_destroy(&(*cache)->entries);
    pthread_cond_destroy(&(*cache)->landed);
    pthread_mutex_destroy(&(*cache)->lock);
    free(*cache);
    *cache = NULL;
}

size_t cache_bytes(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    size_t bytes = lru_bytes(cache->entries);
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}

/* ---- flights; under the lock */

static bool is_under_way(const struct cache *cache, struct slice key)
{
    for (const struct flight *flight = cache->flights; flight; flight = flight->next) {
        if (slice_eq(flight->key, key))
            return true;
    }
    return false;
}

static void land(struct cache *cache, struct flight *flight)
{
    struct flight **link = &cache->flights;
    while (*link != flight)
        link = &(*link)->next;
    *link = flight->next;
    flight->is_over = true;
    pthread_cond_broadcast(&cache->landed);
}

/* The arena ends: when its owner never settled, somebody else may try. */
static void flight_release(void *object)
{
    struct flight *flight = object;
    if (!flight->cache || flight->is_over)
        return;
    pthread_mutex_lock(&flight->cache->lock);
    land(flight->cache, flight);
    pthread_mutex_unlock(&flight->cache->lock);
}

static bool wait_until(struct cache *cache, int64_t deadline_ms)
{
    struct timespec until = {deadline_ms / 1000, deadline_ms % 1000 * 1000000};
    return pthread_cond_timedwait(&cache->landed, &cache->lock, &until) == 0;
}

/* ---- */

struct hold {
    struct entry *entry;
};

static void hold_release(void *object)
{
    entry_release(((struct hold *)object)->entry);
}

enum cache_turn cache_ask(struct cache *cache, struct arena *arena, struct slice key, int64_t now_ms, int64_t not_before_ms,
                          int64_t deadline_ms, struct cache_value *value, bool *waited)
{
    /* Made before the lock is taken: an arena may not return. */
    struct hold *hold = arena_new(arena, struct hold);
    struct flight *flight = arena_new(arena, struct flight);
    flight->key = arena_copy(arena, key);
    arena_defer(arena, hold_release, hold);
    arena_defer(arena, flight_release, flight);
    *waited = false;
    enum cache_turn turn = CACHE_TOO_LATE;
    pthread_mutex_lock(&cache->lock);
    for (;;) {
        struct entry *entry = lru_get(cache->entries, key);
        bool is_good = entry && now_ms < entry->value.valid_until_ms && entry->value.made_ms >= not_before_ms;
        bool is_busy = is_under_way(cache, key);
        if (is_good || !is_busy) {
            turn = is_good ? CACHE_HIT : CACHE_YOURS;
            hold->entry = entry;
            if (entry)
                atomic_fetch_add(&entry->references, 1);
            break;
        }
        *waited = true;
        if (!wait_until(cache, deadline_ms))
            break;
    }
    if (turn == CACHE_YOURS) {
        flight->cache = cache;
        flight->next = cache->flights;
        cache->flights = flight;
    }
    pthread_mutex_unlock(&cache->lock);
    *value = hold->entry ? hold->entry->value : (struct cache_value){.bytes = SLICE_ABSENT};
    return turn;
}

void cache_settle(struct cache *cache, struct slice key, const struct cache_value *value)
{
    struct entry *entry = NULL;
    if (!slice_is_absent(value->bytes)) {
        entry = malloc(sizeof *entry + value->bytes.len);
        ensure(entry);
        entry->references = 1;
        entry->value = *value;
        entry->value.bytes = slice_of(entry + 1, value->bytes.len);
        if (value->bytes.len)
            memcpy(entry + 1, value->bytes.at, value->bytes.len);
    }
    pthread_mutex_lock(&cache->lock);
    if (entry)
        lru_put(cache->entries, key, entry, sizeof *entry + value->bytes.len);
    struct flight *flight = cache->flights;
    while (flight && !slice_eq(flight->key, key))
        flight = flight->next;
    if (flight)
        land(cache, flight);
    pthread_mutex_unlock(&cache->lock);
}
