/* myelin-frontend: speaks HTTP with the world and messages with the workers (DESIGN §3). Started by the supervisor with the control
 * channel on descriptor 3, like every kind; unlike the others it runs event loops, because it holds thousands of idle requests.
 * The main thread starts everything and then waits for signals. */
#include "frontend/access.h"
#include "frontend/front.h"
#include "frontend/guards.h"
#include "frontend/listener.h"
#include "frontend/request.h"
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/sandbox.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

enum {
    LOOPS_MAX = 64,
    STACK_BYTES = 512 * 1024,
    READ_MS = 3600 * 1000, /* h2o's own timer spans idle time, head and body together: guards.c judges them apart */
    IDLE_HTTP2_MS = 75000,
    ENTITY_SLACK = 1024 * 1024,   /* a body this much over the largest cap still gets a proper answer */
    MMAP_FROM = 16 * 1024 * 1024, /* larger bodies lie in an unlinked file */
};

/* ---- what the supervisor tells us: on the control thread */

static void on_peers(void *context)
{
    loop_tell(context, LOOP_PEERS);
}

static void on_reload(void *context)
{
    loop_tell(context, LOOP_RELOAD);
}

static void on_drain(void *context)
{
    struct front *front = context;
    atomic_store(&front->draining, true);
    loop_tell(front, LOOP_DRAIN);
}

/* One stuck loop keeps its share of the connections waiting: the oldest pulse counts. */
static bool is_alive(void *context)
{
    struct front *front = context;
    int64_t now_ms = clock_monotonic_ms();
    for (int i = 0; i < front->loop_count; i++)
        if (!atomic_load(&front->draining) && now_ms - atomic_load(&front->loops[i].pulse_ms) > STUCK_MS)
            return false;
    return true;
}

static void on_load(int64_t *queued, int64_t *running, void *context)
{
    struct front *front = context;
    *queued = atomic_load_explicit(&front->waiting, memory_order_relaxed);
    *running = atomic_load_explicit(&front->running, memory_order_relaxed);
}

/* ---- setting up */

/* Two descriptors per connection are plenty; links, loops and listeners take a few hundred. */
static void raise_descriptor_limit(int64_t connections)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections + 1024;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        log_event(LOG_WARN, "fewer descriptors than connections_max wants", LOG_I64("descriptors", (int64_t)limit.rlim_cur));
}

static size_t largest_body(const struct settings *settings)
{
    size_t largest = (size_t)settings->max_upload_size;
    for (size_t i = 0; i < route_count; i++)
        if (routes[i].body_cap > largest)
            largest = routes[i].body_cap;
    return largest;
}

static void configure_h2o(struct front *front, const struct settings *settings)
{
    front->entity_max = largest_body(settings) + ENTITY_SLACK;
    h2o_config_init(&front->config);
    front->config.server_name = h2o_iovec_init(H2O_STRLIT("myelin"));
    front->config.max_request_entity_size = front->entity_max;
    front->config.http1.req_timeout = READ_MS;
    front->config.http1.upgrade_to_http2 = 0; /* no HTTP/2 without TLS: our reset guard is not worth a second way in */
    front->config.http2.idle_timeout = IDLE_HTTP2_MS;
    h2o_socket_buffer_mmap_settings.threshold = MMAP_FROM;
    if (settings->data_folder) /* often /tmp is memory, and our sandbox cannot write there */
        snprintf(h2o_socket_buffer_mmap_settings.fn_template, sizeof h2o_socket_buffer_mmap_settings.fn_template,
                 "%s/run/body.XXXXXX", settings->data_folder);
    request_register(front);
}

static void start_loops(struct front *front)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (int i = 0; i < front->loop_count; i++)
        ensure(pthread_create(&front->loops[i].thread, &attributes, loop_thread, &front->loops[i]) == 0);
    pthread_attr_destroy(&attributes);
}

static bool set_up(struct front *front)
{
    const struct settings *settings = control_settings(front->control);
    int loops = settings->threads_of[SERVICE_frontend];
    loops = loops < 1 ? 1 : loops > LOOPS_MAX ? LOOPS_MAX : loops;
    mallopt(M_ARENA_MAX, loops + 1);
    raise_descriptor_limit(settings->connections_max);
    ensure(getrandom(&front->instance, sizeof front->instance, 0) == sizeof front->instance);
    front->zmq = zmq_ctx_new();
    front->limits = limits_create();
    front->admission = admission_create();
    front->loops = calloc((size_t)loops, sizeof *front->loops);
    ensure(front->zmq && front->loops);
    access_start();
    configure_h2o(front, settings);
    for (int i = 0; i < loops; i++)
        loop_init(&front->loops[i], front, i);
    atomic_store(&front->loops_running, loops);
    atomic_store(&front->loop_count, loops);
    return listeners_open(front, settings);
}

/* Signals arrive here only. SIGUSR1 is ours: the last loop has ended (loop.c). */
static void run(struct front *front, const sigset_t *signals)
{
    start_loops(front);
    sandbox_enter(SERVICE_frontend, control_settings(front->control));
    if (atomic_load(&front->draining)) /* told so before there were loops */
        loop_tell(front, LOOP_DRAIN);
    control_ready(front->control, front->instance, "", "");
    for (int signal = 0; signal != SIGUSR1;) {
        if (sigwait(signals, &signal) != 0)
            continue;
        if (signal == SIGHUP)
            on_reload(front);
        else if (signal == SIGTERM)
            on_drain(front);
    }
}

int main(int argc, char **argv)
{
    static struct front front;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT); /* a terminal's Ctrl-C: the supervisor drains us */
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    log_init("frontend", LOG_INFO);
    const struct control_events events = {
        .peers = on_peers, .drain = on_drain, .reload = on_reload, .load = on_load, .is_alive = is_alive, .context = &front};
    front.control = control_attach(CONTROL_DESCRIPTOR, &events);
    if (!front.control || !set_up(&front))
        return 1;
    run(&front, &signals);
    zmq_ctx_term(front.zmq);
    log_event(LOG_INFO, "drained");
    control_drained(front.control);
    return 0;
}
