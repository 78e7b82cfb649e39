/* See sweep.h. */
#include "lib/kit/sweep.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/metrics.h"

enum { SWEEP_TIMEOUT_MS = 30000, STACK_BYTES = 512 * 1024, LEAST_MS = 50 };

static struct {
    struct worker *worker;
    const struct sweep *sweeps;
    size_t count;
    struct metric **removed;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool ends;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* True: time to end. */
static bool wait_ms(int64_t ms)
{
    int64_t until_ms = clock_monotonic_ms() + ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    pthread_mutex_lock(&all.lock);
    while (!all.ends && pthread_cond_timedwait(&all.woken, &all.lock, &until) == 0)
        ;
    bool ends = all.ends;
    pthread_mutex_unlock(&all.lock);
    return ends;
}

/* Half of the interval to one and a half. */
static int64_t pause_ms(void)
{
    int64_t interval_ms = worker_settings(all.worker)->sweep_interval;
    uint32_t spread = interval_ms < INT32_MAX ? (uint32_t)interval_ms : INT32_MAX;
    return LEAST_MS + interval_ms / 2 + randombytes_uniform(spread + 1);
}

static void run_one(size_t i)
{
    for (int64_t removed = SWEEP_ROWS; removed >= SWEEP_ROWS && !wait_ms(0);) {
        struct call *call = worker_call_begin(all.worker, SWEEP_TIMEOUT_MS);
        removed = 0;
        enum fault fault = all.sweeps[i].run(call, &removed);
        if (fault) /* the next round tries again */
            log_event(LOG_DEBUG, "a sweep failed", LOG_CSTR("what", all.sweeps[i].what), LOG_CSTR("why", fault_facts(fault)->name));
        metric_add(all.removed[i], removed);
        worker_call_end(&call);
    }
}

static void *sweeps_thread(void *context)
{
    while (!wait_ms(pause_ms()))
        for (size_t i = 0; i < all.count; i++)
            run_one(i);
    return NULL;
}

void sweeps_start(struct worker *worker, const struct sweep *sweeps, size_t count)
{
    all.worker = worker;
    all.sweeps = sweeps;
    all.count = count;
    all.removed = calloc(count, sizeof(struct metric *));
    ensure(all.removed);
    for (size_t i = 0; i < count; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "table=\"%s\"", sweeps[i].what);
        all.removed[i] = metric_counter("myelin_swept_rows_total", "Rows removed because their time had come", labels);
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&all.woken, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    ensure(pthread_create(&all.thread, &attributes, sweeps_thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
}

void sweeps_stop(struct worker *worker)
{
    if (!all.worker)
        return;
    pthread_mutex_lock(&all.lock);
    all.ends = true;
    pthread_cond_signal(&all.woken);
    pthread_mutex_unlock(&all.lock);
    pthread_join(all.thread, NULL);
    free(all.removed);
}
