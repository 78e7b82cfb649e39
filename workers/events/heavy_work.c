/* The budget of large state resolutions; see heavy_work.h. */
#include "workers/events/heavy_work.h"

#include <errno.h>
#include <pthread.h>

#include "lib/base/ensure.h"
#include "lib/kit/metrics.h"
#include "lib/kit/wait.h"

enum { HEAVY_EVENTS = 500 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn;
static int running, most;
static struct metric *waiting;
static _Thread_local bool has_turn; /* a call may resolve more than once */

void heavy_work_start(int threads)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    ensure(pthread_cond_init(&turn, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    most = threads > 1 ? threads / 2 : 1;
    waiting = metric_gauge("myelin_events_heavy_waiting", "Large state resolutions that wait for their turn", NULL);
}

static void end(void *unused)
{
    has_turn = false;
    pthread_mutex_lock(&lock);
    running--;
    pthread_cond_signal(&turn);
    pthread_mutex_unlock(&lock);
}

/* Another thread of the crew does light work meanwhile. */
static bool wait_for_turn(int64_t deadline_ms)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    int error = 0;
    metric_add(waiting, 1);
    wait_begin("heavy work", SLICE_ABSENT);
    wait_long();
    pthread_mutex_lock(&lock);
    while (running >= most && error != ETIMEDOUT)
        error = pthread_cond_timedwait(&turn, &lock, &until);
    bool came = running < most;
    running += came;
    pthread_mutex_unlock(&lock);
    wait_end();
    metric_add(waiting, -1);
    return came;
}

enum fault heavy_work_begin(struct call *call, size_t events)
{
    if (events < HEAVY_EVENTS || has_turn)
        return FAULT_OK;
    pthread_mutex_lock(&lock);
    bool came = running < most;
    running += came;
    pthread_mutex_unlock(&lock);
    if (!came && !wait_for_turn(call->deadline_ms))
        return FAULT_UNAVAILABLE;
    has_turn = true;
    arena_defer(call->arena, end, NULL); /* also when the call is cut off by its memory limit */
    return FAULT_OK;
}
