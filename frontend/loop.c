/* One event-loop thread: its h2o context, its timers, and its mailbox. What happens in it is in the modules that it calls; here is
 * when. README.md has the picture. */
#include "frontend/front.h"

#include "frontend/exchange.h"
#include "frontend/guards.h"
#include "frontend/listener.h"
#include "frontend/pending.h"
#include "frontend/watch.h"
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

enum { TRIM_FROM = 256 };

/* splitmix64: trace ids and the choice of a worker need to be spread, not secret. */
uint64_t loop_random(struct loop *loop)
{
    uint64_t z = loop->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* ---- timers */

void loop_wants_tick(struct loop *loop)
{
    if (!h2o_timeout_is_linked(&loop->tick))
        h2o_timeout_link(loop->events, &loop->tick_every, &loop->tick);
}

/* Connections are a dozen small blocks each, between which malloc would keep the pages when a crowd has left. */
static void give_memory_back(struct loop *loop)
{
    if (loop->client_count > loop->client_peak)
        loop->client_peak = loop->client_count;
    if (loop->client_peak < TRIM_FROM || loop->client_count > loop->client_peak / 2)
        return;
    loop->client_peak = loop->client_count;
    malloc_trim(0);
}

static void on_sweep(h2o_timeout_entry_t *entry)
{
    struct loop *loop = H2O_STRUCT_FROM_MEMBER(struct loop, sweep, entry);
    guards_sweep(loop);
    give_memory_back(loop);
    if (!h2o_linklist_is_empty(&loop->clients))
        h2o_timeout_link(loop->events, &loop->context.one_sec_timeout, &loop->sweep);
}

static void on_pulse(h2o_timeout_entry_t *entry)
{
    struct loop *loop = H2O_STRUCT_FROM_MEMBER(struct loop, pulse, entry);
    atomic_store(&loop->pulse_ms, clock_monotonic_ms());
    if (!loop->finished)
        h2o_timeout_link(loop->events, &loop->context.one_sec_timeout, &loop->pulse);
}

static bool is_quiet(const struct loop *loop)
{
    return h2o_linklist_is_empty((h2o_linklist_t *)&loop->active) && h2o_linklist_is_empty((h2o_linklist_t *)&loop->clients);
}

/* Draining: idle connections end, polls are answered, and at the deadline everything is. */
static void drain_on(struct loop *loop)
{
    bool late = clock_monotonic_ms() >= loop->drain_until_ms;
    exchanges_drain(loop, late);
    guards_shut_idle(loop);
    loop->finished = late || is_quiet(loop);
}

static void on_tick(h2o_timeout_entry_t *entry)
{
    struct loop *loop = H2O_STRUCT_FROM_MEMBER(struct loop, tick, entry);
    exchanges_tick(loop);
    if (loop->drain_until_ms)
        drain_on(loop);
    if (!h2o_linklist_is_empty(&loop->active) || loop->drain_until_ms)
        loop_wants_tick(loop);
}

/* ---- the mailbox */

/* A bit per kind of message: saying the same twice is saying it once. The descriptor wakes the loop. */
void loop_tell(struct front *front, enum loop_message what)
{
    int count = atomic_load(&front->loop_count);
    for (int i = 0; i < count; i++) {
        atomic_fetch_or(&front->loops[i].mail, 1u << what);
        eventfd_write(front->loops[i].mail_descriptor, 1);
    }
}

static void take_peers(struct loop *loop)
{
    const struct peers *fresh = control_peers(loop->front->control), *old = loop->peers;
    loop->peers = fresh;
    links_prune(loop, fresh);
    exchanges_replace(loop);
    if (old)
        control_peers_release(old);
}

static void take_settings(struct loop *loop)
{
    loop->settings = control_settings(loop->front->control);
    free(loop->trusted);
    loop->trusted = networks_parse(loop->settings->trusted_proxies);
}

static void start_drain(struct loop *loop)
{
    if (loop->drain_until_ms)
        return;
    loop->drain_until_ms = clock_monotonic_ms() + DRAIN_MS;
    listeners_close(loop);
    h2o_context_request_shutdown(&loop->context);
    drain_on(loop);
    loop_wants_tick(loop);
}

static void on_mail(h2o_socket_t *socket, const char *error)
{
    struct loop *loop = socket->data;
    eventfd_t ignored;
    eventfd_read(loop->mail_descriptor, &ignored);
    unsigned mail = atomic_exchange(&loop->mail, 0);
    if (mail & 1u << LOOP_PEERS)
        take_peers(loop);
    if (mail & 1u << LOOP_RELOAD) {
        take_settings(loop);
        listeners_reload(loop);
    }
    if (mail & 1u << LOOP_DRAIN)
        start_drain(loop);
}

static void mailbox_open(struct loop *loop)
{
    loop->mail_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ensure(loop->mail_descriptor >= 0);
    loop->mailbox = h2o_evloop_socket_create(loop->events, loop->mail_descriptor, H2O_SOCKET_FLAG_DONT_READ);
    loop->mailbox->data = loop;
    h2o_socket_read_start(loop->mailbox, on_mail);
}

/* ---- from start to end */

bool loop_init(struct loop *loop, struct front *front, int index)
{
    loop->front = front;
    loop->index = index;
    loop->settings = control_settings(front->control);
    loop->trusted = networks_parse(loop->settings->trusted_proxies);
    loop->outbound = arena_create(SIZE_MAX / 4);
    loop->pending = pending_create();
    loop->tick.cb = on_tick;
    loop->sweep.cb = on_sweep;
    loop->pulse.cb = on_pulse;
    atomic_store(&loop->pulse_ms, clock_monotonic_ms());
    ensure(getrandom(&loop->random, sizeof loop->random, 0) == sizeof loop->random);
    h2o_linklist_init_anchor(&loop->clients);
    h2o_linklist_init_anchor(&loop->links);
    h2o_linklist_init_anchor(&loop->active);
    h2o_linklist_init_anchor(&loop->unplaced);
    loop->events = h2o_evloop_create();
    h2o_context_init(&loop->context, loop->events, &front->config);
    h2o_timeout_init(loop->events, &loop->tick_every, TICK_MS);
    mailbox_open(loop);
    loop->watch = watch_create(loop);
    return true;
}

/* h2o's contexts and connections are left to the end of the process: closing them politely has been done or timed out. */
static void loop_finish(struct loop *loop)
{
    links_close(loop);
    watch_destroy(&loop->watch);
    arena_destroy(&loop->outbound);
    free(loop->trusted);
    control_peers_release(loop->peers);
    if (atomic_fetch_sub(&loop->front->loops_running, 1) == 1)
        kill(getpid(), SIGUSR1); /* main.c waits for it */
}

void *loop_thread(void *context)
{
    struct loop *loop = context;
    char name[16];
    snprintf(name, sizeof name, "loop %d", loop->index);
    pthread_setname_np(pthread_self(), name);
    take_peers(loop);
    listeners_start(loop);
    on_pulse(&loop->pulse);
    while (!loop->finished)
        h2o_evloop_run(loop->events, INT32_MAX);
    h2o_evloop_run(loop->events, 0); /* last answers leave */
    loop_finish(loop);
    for (;;)
        pause(); /* h2o keeps memory in thread-local variables, which must stay reachable for leak checkers */
    return NULL;
}
