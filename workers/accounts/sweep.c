/* Tidying; see sweep.h. Every replica sweeps, at its own time: all of it may be done twice. */
#include "workers/accounts/sweep.h"

#include <pthread.h>
#include <sodium.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "workers/accounts/device_lists.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/guests.h"
#include "workers/accounts/queries.h"

enum { ROUND_MS = 20000, ROUND_SPREAD_MS = 20000, PENDING_MS = 10000, SWEEP_TIMEOUT_MS = 30000 };

static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken;
static bool ends;

static void expire(struct call *call)
{
    int64_t now = clock_wall_ms();
    struct db_batch *batch = call_batch(call);
    q_nonce_expire(batch, now - NONCE_MS);
    q_ui_session_expire(batch, now - UI_SESSION_MS);
    q_to_device_seen_expire(batch, now - TO_DEVICE_SEEN_MS);
    db_run(batch); /* the next round tries again */
}

static void tell_pending(struct call *call)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_device_list_pending_users(batch, clock_wall_ms() - PENDING_MS);
    enum fault fault = db_run(batch);
    struct device_list_pending_users_row row;
    while (!fault && device_list_pending_users_next(result, &row))
        device_lists_tell(call, row.user_id);
}

/* True: time to end. */
static bool wait_ms(int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    pthread_mutex_lock(&lock);
    while (!ends && pthread_cond_timedwait(&woken, &lock, &until) == 0)
        ;
    bool end = ends;
    pthread_mutex_unlock(&lock);
    return end;
}

static void *sweep(void *context)
{
    struct worker *worker = context;
    while (!wait_ms(ROUND_MS + randombytes_uniform(ROUND_SPREAD_MS))) {
        struct call *call = worker_call_begin(worker, SWEEP_TIMEOUT_MS);
        expire(call);
        tell_pending(call);
        guests_turn_out(call, SLICE_ABSENT);
        worker_call_end(&call);
    }
    return NULL;
}

void sweep_start(struct worker *worker)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&woken, &monotonic);
    pthread_condattr_destroy(&monotonic);
    ensure(pthread_create(&thread, NULL, sweep, worker) == 0);
}

void sweep_stop(struct worker *worker)
{
    pthread_mutex_lock(&lock);
    ends = true;
    pthread_cond_signal(&woken);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
}
