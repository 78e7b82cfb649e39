/* The sender's threads; see pool.h. Everything here is guarded by the destinations' lock. */
#include "workers/sender/pool.h"

#include <pthread.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/sanitized.h"
#include "lib/kit/metrics.h"
#include "workers/sender/distributor.h"

enum { STACK_BYTES = SANITIZED ? 2 * 1024 * 1024 : 256 * 1024 };
/* A thread is a stack that is hardly used and a connection. Those that are known to answer take what they need. */
enum { THREADS_MAX = 64, IDLE_MS = 10000, STEP_MS = 60000 };
enum class { PROVEN, UNPROVEN, FAILING, CLASS_COUNT };
static const int threads_for[CLASS_COUNT] = {THREADS_MAX, 40, 12};

struct ready { /* first in, first out */
    struct destination *first, **last;
};

static struct worker *worker;
static void (*deliver)(struct call *call, struct destination *destination);
static struct ready ready[CLASS_COUNT];
static int thread_count, waiting_count, ready_count, running[CLASS_COUNT];
static bool is_ending;
static pthread_cond_t work, ended;
static struct metric *threads_gauge;

static void push(struct ready *to, struct destination *destination)
{
    destination->next_ready = NULL;
    *to->last = destination;
    to->last = &destination->next_ready;
    destination->is_ready = true;
    ready_count++;
}

static struct destination *pop(struct ready *from)
{
    struct destination *destination = from->first;
    if (!destination)
        return NULL;
    from->first = destination->next_ready;
    if (!from->first)
        from->last = &from->first;
    destination->is_ready = false;
    ready_count--;
    return destination;
}

static enum class class_of(const struct destination *destination) {
    return backoff_is_failing(&destination->backoff) ? FAILING
           : destination->is_proven                  ? PROVEN
                                                     : UNPROVEN;
}

static struct destination *take(enum class *class)
{
    struct destination *destination = NULL;
    for (*class = PROVEN; *class < CLASS_COUNT; (*class)++)
        if (running[*class] < threads_for[*class] && (destination = pop(&ready[*class])))
            break;
    return destination;
}

static void run_one(struct destination *destination)
{
    struct call *call = worker_call_begin(worker, STEP_MS);
    log_set_trace(call->trace);
    deliver(call, destination);
    log_set_trace(NULL);
    worker_call_end(&call);
}

static void *thread_main(void *context)
{
    destinations_lock();
    for (bool is_idle = false; !is_ending;) {
        enum class class;
        struct destination *destination = take(&class);
        if (destination) {
            is_idle = false;
            destination->is_running = true;
            running[class]++;
            destinations_unlock();
            run_one(destination);
            destinations_lock();
            destination->is_running = false;
            running[class]--;
            pool_poke(destination);
        } else if (is_idle) {
            break; /* nothing came for a while */
        } else {
            waiting_count++;
            is_idle = !destinations_wait(&work, IDLE_MS);
            waiting_count--;
        }
    }
    thread_count--;
    pthread_cond_signal(&ended);
    destinations_unlock();
    return NULL;
}

static void spawn(void)
{
    pthread_t id;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&id, &attributes, thread_main, NULL) == 0)
        thread_count++;
    else
        log_event(LOG_WARN, "no thread for another destination", LOG_I64("threads", thread_count));
    pthread_attr_destroy(&attributes);
}

void pool_poke(struct destination *destination)
{
    if (is_ending || destination->is_ready || destination->is_running || worker_is_draining(worker) ||
        !destination_has_work(destination, distributor_owns(destination->slot)) ||
        backoff_is_waiting(&destination->backoff, clock_wall_ms()) || clock_monotonic_ms() < destination->idle_until_ms)
        return;
    push(&ready[class_of(destination)], destination);
    pthread_cond_signal(&work);
    if (ready_count > waiting_count && thread_count < THREADS_MAX)
        spawn();
}

static int64_t count_threads(void *context)
{
    destinations_lock();
    int64_t count = thread_count;
    destinations_unlock();
    return count;
}

void pool_start(struct worker *for_worker, void (*run)(struct call *call, struct destination *destination))
{
    worker = for_worker;
    deliver = run;
    for (size_t i = 0; i < CLASS_COUNT; i++)
        ready[i].last = &ready[i].first;
    destinations_condition(&work);
    destinations_condition(&ended);
    threads_gauge = metric_gauge("myelin_sender_threads", "Threads that talk to other servers", NULL);
    metric_read_by(threads_gauge, count_threads, NULL);
}

void pool_stop(void)
{
    destinations_lock();
    is_ending = true;
    pthread_cond_broadcast(&work);
    while (thread_count > 0)
        destinations_wait(&ended, IDLE_MS);
    destinations_unlock();
}
