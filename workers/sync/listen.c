/* What the process hears: each hint wakes whom it concerns. And the timer thread. */
#include "workers/sync/listen.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "workers/sync/counters.h"
#include "workers/sync/fast_path.h"
#include "workers/sync/presence.h"
#include "workers/sync/queries.h"
#include "workers/sync/readers.h"
#include "workers/sync/ring.h"
#include "workers/sync/typing.h"

enum { TICK_MS = 250 };

struct sync_counters counters;

void counters_start(void)
{
    counters.fast = metric_counter("myelin_sync_fast_path_total", "Syncs answered from memory", NULL);
    counters.slow = metric_counter("myelin_sync_sql_path_total", "Syncs answered from the database", NULL);
    counters.parked = metric_counter("myelin_sync_parked_total", "Times that a sync was parked", NULL);
    counters.wakes = metric_counter("myelin_sync_wakes_total", "Runs of syncs that were parked", NULL);
    counters.gaps = metric_counter("myelin_sync_stream_gaps_total", "Times that hints were lost or a publisher is new", NULL);
    counters.ring_bytes = metric_gauge("myelin_sync_ring_bytes", "Bytes of recent events in memory", NULL);
}

static void wake(struct worker *worker, char kind, struct slice key)
{
    char topic[300];
    int length = snprintf(topic, sizeof topic, "%c:%.*s", kind, PRI(key));
    stream_wake(worker, slice_of(topic, (size_t)length < sizeof topic ? (size_t)length : sizeof topic - 1));
}

/* ---- a user's devices changed: everybody in his rooms should know. The rooms are in the database. */

static void wake_rooms_of(struct call *call, void *context)
{
    struct slice user_id = slice_from_cstr(context);
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_rooms_of(batch, (struct slices){&user_id, 1});
    struct rooms_of_row row;
    if (db_run(batch) == FAULT_OK)
        while (rooms_of_next(result, &row)) {
            ring_hear_odd(row.room_id, 0);
            wake(call->worker, 'r', row.room_id);
        }
    free(context);
}

static void on_device_list(struct worker *worker, struct slice user_id)
{
    char *copy = strndup(user_id.at, user_id.len);
    ensure(copy);
    ring_hear_user(user_id, 0);
    wake(worker, 'u', user_id);
    if (!worker_enqueue(worker, SLICE_ABSENT, wake_rooms_of, copy))
        free(copy);
}

/* ---- hints, on the link thread */

static struct arena *hint_arena; /* the link thread's own */

static void on_event(const struct stream_hint *hint)
{
    struct stream_event event;
    if (stream_event_unpack(hint_arena, hint->payload, &event))
        ring_hear_event(&event, hint->pos);
    else
        ring_hear_odd(hint->key, hint->pos);
    arena_reset(hint_arena);
}

static void on_hint(struct worker *worker, const struct stream_hint *hint, bool gap, void *context)
{
    (void)context;
    if (gap) {
        metric_add(counters.gaps, 1);
        ring_hear_gap();
        stream_wake_all(worker);
        return;
    }
    switch (hint->kind) {
    case STREAM_event:
        on_event(hint);
        wake(worker, 'r', hint->key);
        break;
    case STREAM_receipt:
        ring_hear_receipts(hint->key, hint->payload, hint->pos);
        wake(worker, 'r', hint->key);
        break;
    case STREAM_room:
        ring_hear_odd(hint->key, hint->pos);
        wake(worker, 'r', hint->key);
        break;
    case STREAM_membership:
    case STREAM_account_data:
    case STREAM_to_device:
        ring_hear_user(hint->key, hint->pos);
        wake(worker, 'u', hint->key);
        break;
    case STREAM_device_list:
        on_device_list(worker, hint->key);
        break;
    case STREAM_typing:
        typing_heard(worker, hint->key, hint->payload);
        break;
    case STREAM_presence:
        presence_heard(worker, hint->key, hint->payload);
        break;
    case STREAM_token:
    case STREAM_profile:
    case STREAM_tick:
    case STREAM_edu:
        break;
    }
}

/* ---- the timer */

static pthread_t timer;
static pthread_mutex_t timer_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t timer_changed = PTHREAD_COND_INITIALIZER;
static bool timer_runs, timer_ends;

static bool sleep_a_tick(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&timer_lock);
    if (!timer_ends)
        pthread_cond_timedwait(&timer_changed, &timer_lock, &until);
    bool goes_on = !timer_ends;
    pthread_mutex_unlock(&timer_lock);
    return goes_on;
}

static void *timer_main(void *context)
{
    struct worker *worker = context;
    for (int turn = 0; sleep_a_tick(); turn++) {
        typing_expire(worker);
        if (turn % 2)
            presence_tick(worker);
    }
    return NULL;
}

enum fault sync_start(struct worker *worker)
{
    counters_start();
    ephemeral_next_serial();
    hint_arena = arena_create(SIZE_MAX / 2);
    ring_start((size_t)worker_settings(worker)->sync_cache_size / 2);
    fast_path_start((size_t)worker_settings(worker)->sync_cache_size / 2);
    stream_listen(worker, SERVICE_events, on_hint, NULL);
    stream_listen(worker, SERVICE_accounts, on_hint, NULL);
    stream_listen(worker, SERVICE_sync, on_hint, NULL);
    timer_runs = pthread_create(&timer, NULL, timer_main, worker) == 0;
    return timer_runs ? FAULT_OK : FAULT_INTERNAL;
}

void sync_stop(struct worker *worker)
{
    (void)worker;
    pthread_mutex_lock(&timer_lock);
    timer_ends = true;
    pthread_cond_signal(&timer_changed);
    pthread_mutex_unlock(&timer_lock);
    if (timer_runs)
        pthread_join(timer, NULL);
    readers_stop();
    ring_stop();
    arena_destroy(&hint_arena);
}
