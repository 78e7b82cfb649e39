/* Known keys in memory and in the table; see key_cache.h. */
#include "workers/keys/key_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/lru.h"
#include "lib/kit/metrics.h"
#include "workers/keys/queries.h"

enum { CACHE_BYTES = 8 * 1024 * 1024, RECORD_BYTES_MAX = 1024 * 1024, RETRY_FIRST_MS = 2000, RETRY_MAX_MS = 10 * 60 * 1000 };

struct held { /* a record and the memory it lives in */
    struct key_record record;
    atomic_int references;
    struct arena *arena;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lru *cache; /* guarded by lock: server → struct held */
static struct metric *hits, *misses, *loads_failed;

static void release(void *object)
{
    struct held *held = object;
    struct arena *arena = held->arena; /* what is held lives in it itself */
    if (atomic_fetch_sub(&held->references, 1) == 1)
        arena_destroy(&arena);
}

static int64_t cache_bytes(void *context)
{
    pthread_mutex_lock(&lock);
    int64_t bytes = (int64_t)lru_bytes(cache);
    pthread_mutex_unlock(&lock);
    return bytes;
}

void key_cache_start(void)
{
    cache = lru_create(CACHE_BYTES, release);
    hits = metric_counter("myelin_keys_cache_total", "Look-ups of a server's keys in memory", "result=\"hit\"");
    misses = metric_counter("myelin_keys_cache_total", "Look-ups of a server's keys in memory", "result=\"miss\"");
    loads_failed = metric_counter("myelin_keys_store_failures_total", "Reads and writes of server_key that failed", NULL);
    metric_read_by(metric_gauge("myelin_keys_cache_bytes", "Server keys in memory", NULL), cache_bytes, NULL);
}

/* A copy of the record in memory of its own, put into the cache. The call keeps a reference. */
static const struct key_record *keep(struct call *call, struct slice server, const struct key_record *record)
{
    struct arena *arena = arena_create(RECORD_BYTES_MAX);
    struct held *held = arena_new(arena, struct held);
    struct verify_key *keys = arena_new_array(arena, record->count, struct verify_key);
    for (size_t i = 0; i < record->count; i++) {
        keys[i] = record->keys[i];
        keys[i].key_id = arena_copy(arena, keys[i].key_id);
        keys[i].public_key = arena_copy(arena, keys[i].public_key);
    }
    held->arena = arena;
    held->record = *record;
    held->record.keys = keys;
    held->record.answer = arena_copy(arena, record->answer);
    atomic_init(&held->references, 2); /* the cache's and the call's */
    size_t cost = arena_used(arena) + sizeof *held;
    arena_defer(call->arena, release, held);
    pthread_mutex_lock(&lock);
    lru_put(cache, server, held, cost);
    pthread_mutex_unlock(&lock);
    return &held->record;
}

static const struct key_record *find(struct call *call, struct slice server)
{
    pthread_mutex_lock(&lock);
    struct held *held = lru_get(cache, server);
    if (held)
        atomic_fetch_add(&held->references, 1);
    pthread_mutex_unlock(&lock);
    if (held)
        arena_defer(call->arena, release, held);
    return held ? &held->record : NULL;
}

static void note_failure(enum fault fault)
{
    metric_add(loads_failed, 1);
    log_event(LOG_WARN, "server_key is not to be had", LOG_CSTR("why", fault_facts(fault)->name));
}

/* False: the database is away. */
static bool load(struct call *call, struct slice server, struct key_record *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_server_keys_of(batch, server);
    enum fault fault = db_run(batch);
    if (fault) {
        note_failure(fault);
        return false;
    }
    struct verify_key *keys = arena_new_array(call->arena, (size_t)db_affected(result), struct verify_key);
    struct server_keys_of_row row;
    while (server_keys_of_next(result, &row)) {
        keys[out->count++] = (struct verify_key){
            .key_id = row.key_id, .public_key = row.public_key, .valid_until_ts = row.valid_until_ts, .is_old = row.is_old};
        if (row.fetched_ts > out->fetched_ts) {
            out->fetched_ts = row.fetched_ts;
            out->answer = row.answer;
        }
        if (!row.is_old && row.fetched_ts == out->fetched_ts && row.valid_until_ts > out->valid_until_ts)
            out->valid_until_ts = row.valid_until_ts;
    }
    out->keys = keys;
    out->asked_ms = out->fetched_ts;
    return true;
}

const struct key_record *key_record_get(struct call *call, struct slice server)
{
    const struct key_record *found = find(call, server);
    metric_add(found ? hits : misses, 1);
    if (found)
        return found;
    struct key_record *loaded = arena_new(call->arena, struct key_record);
    return load(call, server, loaded) && loaded->count ? keep(call, server, loaded) : loaded;
}

static void store(struct call *call, const struct key_answer *answer)
{
    struct slice *key_ids = arena_new_array(call->arena, answer->count, struct slice);
    struct slice *public_keys = arena_new_array(call->arena, answer->count, struct slice);
    int64_t *valid_until_ts = arena_new_array(call->arena, answer->count, int64_t);
    int64_t *old = arena_new_array(call->arena, answer->count, int64_t);
    for (size_t i = 0; i < answer->count; i++) {
        key_ids[i] = answer->keys[i].key_id;
        public_keys[i] = answer->keys[i].public_key;
        valid_until_ts[i] = answer->keys[i].valid_until_ts;
        old[i] = answer->keys[i].is_old;
    }
    struct db_batch *batch = call_batch(call);
    q_server_keys_store(batch, answer->server, (struct slices){key_ids, answer->count}, (struct slices){public_keys, answer->count},
                        (struct i64s){valid_until_ts, answer->count}, (struct i64s){old, answer->count}, answer->fetched_ts,
                        answer->json);
    q_server_keys_trim(batch, answer->server);
    enum fault fault = db_run(batch);
    if (fault)
        note_failure(fault);
}

void key_record_learn(struct call *call, const struct key_answer *answer)
{
    const struct key_record *before = key_record_get(call, answer->server);
    if (before->fetched_ts > answer->fetched_ts)
        return;
    struct key_record record = {.valid_until_ts = answer->valid_until_ts,
                                .fetched_ts = answer->fetched_ts,
                                .answer = answer->json,
                                .asked_ms = clock_wall_ms()};
    record.keys = verify_keys_merge(call->arena, answer, before->keys, before->count, &record.count);
    keep(call, answer->server, &record);
    store(call, answer);
}

void key_record_failed(struct call *call, struct slice server)
{
    struct key_record record = *key_record_get(call, server);
    int doublings = record.failures < 16 ? record.failures : 16;
    int64_t wait_ms = (int64_t)RETRY_FIRST_MS << doublings;
    record.failures++;
    record.asked_ms = clock_wall_ms();
    record.retry_ms = record.asked_ms + (wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS);
    keep(call, server, &record);
}
