/* Parts of the handler threads; see gate.h. */
#include "workers/federation/gate.h"

#include <pthread.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/kit/metrics.h"
#include "lib/kit/worker.h"

enum { WAIT_MS = 10000 };

struct gate_place {
    enum gate gate;
    bool is_held;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t left;
static struct { /* guarded by lock */
    int inside, waiting;
} gates[GATE_COUNT];
static int inside_max, waiting_max; /* of each gate */
static struct metric *refused[GATE_COUNT];

void gates_start(struct worker *worker)
{
    int threads = worker_settings(worker)->threads_of[worker_service(worker)];
    inside_max = threads / 4 > 0 ? threads / 4 : 1; /* of both gates with those who wait: three quarters */
    waiting_max = threads / 8;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&left, &monotonic);
    pthread_condattr_destroy(&monotonic);
    const char *what = "Calls that found too many others waiting for other servers";
    refused[GATE_GAP] = metric_counter("myelin_federation_refused_total", what, "for=\"gap\"");
    refused[GATE_OUTBOUND] = metric_counter("myelin_federation_refused_total", what, "for=\"outbound\"");
}

void gate_leave(struct gate_place *place)
{
    pthread_mutex_lock(&lock);
    if (place->is_held) {
        place->is_held = false;
        gates[place->gate].inside--;
        pthread_cond_broadcast(&left);
    }
    pthread_mutex_unlock(&lock);
}

static void leave(void *place)
{
    gate_leave(place);
}

/* Under the lock. False: no place came free in time. */
static bool wait_for_place(enum gate gate, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    bool in_time = true;
    gates[gate].waiting++;
    while (gates[gate].inside >= inside_max && in_time)
        in_time = pthread_cond_timedwait(&left, &lock, &until) == 0;
    gates[gate].waiting--;
    return gates[gate].inside < inside_max;
}

enum fault gate_enter(struct call *call, enum gate gate, struct gate_place **place)
{
    struct gate_place *taken = arena_new(call->arena, struct gate_place);
    taken->gate = gate;
    arena_defer(call->arena, leave, taken);
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    pthread_mutex_lock(&lock);
    bool enters = gates[gate].inside < inside_max;
    if (!enters && gates[gate].waiting < waiting_max)
        enters = wait_for_place(gate, until_ms < call->deadline_ms ? until_ms : call->deadline_ms);
    if (enters) {
        gates[gate].inside++;
        taken->is_held = true;
    }
    pthread_mutex_unlock(&lock);
    if (!enters) {
        metric_add(refused[gate], 1);
        call->why = SLICE("too many calls wait for other servers");
    }
    *place = taken;
    return enters ? FAULT_OK : FAULT_UNAVAILABLE;
}
