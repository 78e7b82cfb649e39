/* A worker process from its start to its end. The order of the start is the order of needs: settings from the supervisor, then what
 * calls stand on, then the kind's own start, and only when everything is there the supervisor is told that calls may come. The
 * main thread becomes the link thread; when it returns the process is drained and ends. */
#include "lib/kit/worker.h"

#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/crew.h"
#include "lib/kit/database_login.h"
#include "lib/kit/link.h"
#include "lib/kit/sandbox.h"

/* One per process. */
static struct worker the_worker;
/* The control thread may look at lanes, threads and the link: from the end of the start to the beginning of the end. */
static pthread_mutex_t up_lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_up;

static void set_up(bool up)
{
    pthread_mutex_lock(&up_lock);
    is_up = up;
    pthread_mutex_unlock(&up_lock);
}

/* ---- what the supervisor asks; on the control thread */

static void on_peers(void *context)
{
    struct worker *worker = context;
    pthread_mutex_lock(&up_lock);
    if (is_up)
        link_peers_changed(worker->link);
    pthread_mutex_unlock(&up_lock);
}

static void on_drain(void *context)
{
    struct worker *worker = context;
    atomic_store(&worker->draining, true);
    pthread_mutex_lock(&up_lock);
    if (is_up)
        link_poke(worker->link);
    pthread_mutex_unlock(&up_lock);
}

enum { STUCK_MS = 5000 };

/* Handlers may be busy for long, the link thread never: when it does not turn, nobody is served. */
static bool on_pulse(void *context)
{
    struct worker *worker = context;
    pthread_mutex_lock(&up_lock);
    bool is_alive = !is_up || clock_monotonic_ms() - atomic_load(&worker->link->turned_ms) < STUCK_MS;
    pthread_mutex_unlock(&up_lock);
    return is_alive;
}

static struct slice on_calls(struct arena *arena, void *context)
{
    struct worker *worker = context;
    pthread_mutex_lock(&up_lock);
    bool up = is_up;
    pthread_mutex_unlock(&up_lock);
    return up ? waits_list(arena, worker) : SLICE_ABSENT; /* threads are never freed */
}

static void on_load(int64_t *queued, int64_t *running, void *context)
{
    struct worker *worker = context;
    pthread_mutex_lock(&up_lock);
    if (is_up) {
        *queued = lanes_queued(worker->lanes);
        *running = lanes_running(worker->lanes);
    }
    pthread_mutex_unlock(&up_lock);
}

/* ---- start */

/* SIGTERM is read by the link thread; a terminal's interrupt is the supervisor's to understand. */
static void set_signals(void)
{
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static void on_wake(struct park_entry *entry, void *context)
{
    struct worker *worker = context;
    struct job *job = (struct job *)(void *)((char *)entry - offsetof(struct job, park));
    lanes_push(worker->lanes, &job->item);
}

/* Any thread. */
static void on_doubt(void *context)
{
    stream_doubt(context);
}

static bool has_user_routes(const struct worker *worker)
{
    for (size_t i = 0; i < route_count; i++) {
        if (routes[i].kind == worker->kind->service && routes[i].auth != AUTH_NONE && routes[i].auth != AUTH_SERVER)
            return true;
    }
    return false;
}

static struct db_pool *open_pool(const struct worker *worker, const struct settings *settings)
{
    const char *role = worker->facts->db_role;
    if (!settings->database_logins)
        return db_pool_create(settings->database_url, role, settings_connections(settings, worker->kind->service));
    struct arena *arena = arena_create(64 * 1024);
    const char *url = arena_cstr(arena, database_login_url(arena, settings->database_url, role));
    struct db_pool *pool = db_pool_create(url, "", settings_connections(settings, worker->kind->service));
    arena_destroy(&arena);
    return pool;
}

static bool start(struct worker *worker)
{
    const struct control_events events = {
        .peers = on_peers, .drain = on_drain, .calls = on_calls, .load = on_load, .is_alive = on_pulse, .context = worker};
    worker->control = control_attach(CONTROL_DESCRIPTOR, &events);
    if (!worker->control)
        return false;
    const struct settings *settings = worker_settings(worker);
    call_server_name_set(settings->server_name);
    while (!worker->instance)
        ensure(getrandom(&worker->instance, sizeof worker->instance, 0) == sizeof worker->instance);
    worker->lanes = lanes_create();
    worker->park = park_create(on_wake, worker);
    worker->jobs = jobs_create();
    if (*worker->facts->db_role)
        worker->db = open_pool(worker, settings);
    handlers_prepare(worker);
    worker->link = link_create(worker);
    if (!worker->link)
        return false;
    if (worker->db && worker->facts->publishes)
        db_pool_on_doubt(worker->db, on_doubt, worker);
    if (worker->db && has_user_routes(worker))
        tokens_start(worker);
    enum fault fault = worker->kind->start ? worker->kind->start(worker) : FAULT_OK;
    if (fault) {
        log_event(LOG_ERROR, "the worker cannot start", LOG_CSTR("why", fault_facts(fault)->name));
        return false;
    }
    crew_start(worker);
    atomic_store(&worker->link->turned_ms, clock_monotonic_ms()); /* the start may have taken its time */
    set_up(true);
    if (worker->kind->seal)
        worker->kind->seal(worker);
    else
        sandbox_enter(worker->kind->service, settings);
    return true;
}

/* After the last call, or when calls did not end in time: then nothing can be taken apart under them. */
static void end(struct worker *worker)
{
    if (jobs_count(worker->jobs) > 0) {
        log_event(LOG_WARN, "calls did not end in time", LOG_I64("calls", (int64_t)jobs_count(worker->jobs)));
        control_drained(worker->control);
        _exit(0);
    }
    if (worker->kind->stop)
        worker->kind->stop(worker);
    slots_stop(worker);
    lanes_close(worker->lanes);
    crew_join(worker);
    link_destroy(&worker->link);
    tokens_stop(worker);
    listeners_free(worker);
    handlers_gauges_off();
    if (worker->db)
        db_pool_destroy(&worker->db);
    log_event(LOG_INFO, "drained");
    control_drained(worker->control);
}

int worker_main(const struct worker_kind *kind, int argc, char **argv)
{
    struct worker *worker = &the_worker;
    worker->kind = kind;
    worker->facts = service_facts(kind->service);
    log_init(worker->facts->name, LOG_INFO);
    mallopt(M_ARENA_MAX, 2); /* many threads, little memory each */
    set_signals();
    ensure(sodium_init() >= 0);
    if (!start(worker))
        return EXIT_FAILURE;
    control_ready(worker->control, worker->instance, worker->link->endpoint, worker->link->publisher);
    log_event(LOG_INFO, "ready", LOG_CSTR("endpoint", worker->link->endpoint));
    link_run(worker->link);
    set_up(false);
    end(worker);
    return EXIT_SUCCESS;
}

/* ---- what kinds ask */

enum service worker_service(const struct worker *worker)
{
    return worker->kind->service;
}

uint64_t worker_instance(const struct worker *worker)
{
    return worker->instance;
}

const struct settings *worker_settings(const struct worker *worker)
{
    return control_settings(worker->control);
}

struct db_pool *worker_db(struct worker *worker)
{
    return worker->db;
}

const struct peers *worker_peers(struct worker *worker)
{
    return control_peers(worker->control);
}

void worker_peers_release(const struct peers *peers)
{
    control_peers_release(peers);
}

bool worker_is_draining(const struct worker *worker)
{
    return atomic_load(&((struct worker *)(uintptr_t)worker)->draining);
}

struct call *worker_call_begin(struct worker *worker, int64_t timeout_ms)
{
    struct call_state *state = calloc(1, sizeof *state);
    ensure(state);
    struct arena *arena = arena_create((size_t)worker_settings(worker)->call_memory_max);
    call_init(state, worker, arena, clock_monotonic_ms() + timeout_ms);
    uint8_t trace[16];
    trace_make(trace);
    trace_to_hex(trace, state->call.trace);
    state->thread = stranger_enter(worker, state->call.trace);
    return &state->call;
}

void worker_call_end(struct call **call)
{
    if (!*call)
        return;
    struct call_state *state = call_state_of(*call);
    arena_destroy(&state->call.arena); /* may still wait: for a rollback */
    stranger_leave(&state->thread);
    free(state);
    *call = NULL;
}
