/* The link thread's loop: wait for sockets, the eventfd, SIGTERM or the next time that something is due; then send what other
 * threads queued, serve callers, take answers, and look whether a drain is over. Nothing here blocks. */
#include "lib/kit/link.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"

enum {
    DRAIN_SEEN_MS = 1000,  /* by then the registry has told everybody, or never will */
    DRAIN_QUIET_MS = 250,  /* from then on: what was sent before others saw it arrives */
    DRAIN_MOST_MS = 25000, /* calls have deadlines, but a supervisor does not wait for ever */
    DRAIN_STEP_MS = 20,
    FLUSH_MS = 500,
    TURN_MS = 1000, /* the loop turns at least that often, to show that it lives */
};

/* ---- the queue of other threads' wishes */

/* After the end: nobody sends any more. */
static void forget_command(const struct command *command)
{
    struct parcel *parcel = command->parcel;
    parcel_destroy(&parcel);
    if (command->type == COMMAND_REQUEST)
        bus_ticket_settle(command->ticket, FAULT_UNAVAILABLE, "this worker ends", NULL, NULL);
    else if (command->type == COMMAND_ABANDON)
        bus_ticket_release(command->ticket);
}

static void send_command(struct link *link, struct command wish)
{
    struct command *command = malloc(sizeof *command);
    ensure(command);
    *command = wish;
    command->next = NULL;
    pthread_mutex_lock(&link->lock);
    bool was_empty = !link->commands, is_over = link->is_over;
    if (!is_over) {
        *link->last_command = command;
        link->last_command = &command->next;
    }
    pthread_mutex_unlock(&link->lock);
    if (is_over) {
        forget_command(command);
        free(command);
    } else if (was_empty) {
        link_poke(link);
    }
}

void link_poke(struct link *link)
{
    uint64_t one = 1;
    ensure(write(link->wake, &one, sizeof one) == sizeof one || errno == EAGAIN);
}

void link_send_reply(struct link *link, int router, struct parcel *parcel)
{
    send_command(link, (struct command){.type = COMMAND_REPLY, .router = router, .parcel = parcel});
}

void link_send_request(struct link *link, struct bus_ticket *ticket)
{
    send_command(link, (struct command){.type = COMMAND_REQUEST, .ticket = ticket});
}

void link_abandon(struct link *link, struct bus_ticket *ticket)
{
    send_command(link, (struct command){.type = COMMAND_ABANDON, .ticket = ticket});
}

void link_send_publication(struct link *link, struct parcel *parcel, int64_t pos, int64_t horizon)
{
    send_command(link, (struct command){.type = COMMAND_PUBLISH, .parcel = parcel, .pos = pos, .horizon = horizon});
}

void link_send_doubt(struct link *link)
{
    send_command(link, (struct command){.type = COMMAND_DOUBT});
}

void link_peers_changed(struct link *link)
{
    atomic_store(&link->peers_changed, true);
    link_poke(link);
}

static void send_reply(struct link *link, int router, struct parcel *parcel)
{
    poll_set_used(&link->polled, link->routers[router]);
    if (!parcel_send(link->routers[router], &parcel)) {
        metric_add(link->worker->unsent, 1); /* the caller went away, or takes nothing in any more */
        parcel_destroy(&parcel);
    }
}

static void run_commands(struct link *link)
{
    uint64_t count;
    ensure(read(link->wake, &count, sizeof count) == sizeof count || errno == EAGAIN);
    pthread_mutex_lock(&link->lock);
    struct command *list = link->commands;
    link->commands = NULL;
    link->last_command = &link->commands;
    pthread_mutex_unlock(&link->lock);
    while (list) {
        struct command *command = list;
        list = command->next;
        switch (command->type) {
        case COMMAND_REPLY:
            send_reply(link, command->router, command->parcel);
            break;
        case COMMAND_REQUEST:
            peers_request(link, command->ticket);
            break;
        case COMMAND_ABANDON:
            peers_abandon(link, command->ticket);
            break;
        case COMMAND_PUBLISH:
            streams_publish(link, command->parcel, command->pos, command->horizon);
            break;
        case COMMAND_DOUBT:
            streams_doubt(link);
            break;
        }
        free(command);
    }
}

/* ---- sockets */

struct arena *link_arena(struct link *link)
{
    struct arena *arena = link->spare ? link->spare : arena_create(SIZE_MAX / 2); /* wire_receive bounds what it takes */
    link->spare = NULL;
    return arena;
}

void link_arena_return(struct link *link, struct arena *arena)
{
    arena_reset(arena);
    if (link->spare)
        arena_destroy(&arena);
    else
        link->spare = arena;
}

static void local_path(const struct link *link, enum service kind, uint64_t instance, bool publisher, char *out, size_t size)
{
    const struct settings *settings = worker_settings(link->worker);
    int len = snprintf(out, size, "ipc://%s/run/%s-%016llx.%s", settings->data_folder, service_facts(kind)->name,
                       (unsigned long long)instance, publisher ? "pub" : "sock");
    if (len < 0 || (size_t)len >= size)
        out[0] = '\0';
}

void link_nearest_endpoint(const struct link *link, const struct peer *peer, bool publisher, char *out, size_t size)
{
    const char *told = publisher ? peer->publisher : peer->endpoint;
    local_path(link, peer->kind, peer->instance, publisher, out, size);
    if (strncmp(told, "tcp://", 6) != 0 || !out[0] || access(out + strlen("ipc://"), F_OK) != 0)
        snprintf(out, size, "%s", told);
}

void *link_connect(struct link *link, int type, const char *endpoint)
{
    void *socket = zmq_socket(link->zmq, type);
    if (socket && wire_secure_socket(link->zmq, socket, worker_settings(link->worker), endpoint, false) &&
        (type != ZMQ_SUB || zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0) == 0) && zmq_connect(socket, endpoint) == 0)
        return socket;
    log_event(LOG_ERROR, "cannot connect to a peer", LOG_CSTR("endpoint", endpoint), LOG_CSTR("why", zmq_strerror(errno)));
    if (socket)
        zmq_close(socket);
    return NULL;
}

/* *bound_out: the endpoint with its real port. */
static void *bind_socket(struct link *link, int type, const char *endpoint, char bound_out[128])
{
    int one = 1;
    size_t size = 128;
    void *socket = zmq_socket(link->zmq, type);
    if (socket && wire_secure_socket(link->zmq, socket, worker_settings(link->worker), endpoint, true) &&
        zmq_setsockopt(socket, type == ZMQ_ROUTER ? ZMQ_ROUTER_MANDATORY : ZMQ_XPUB_VERBOSE, &one, sizeof one) == 0 &&
        zmq_bind(socket, endpoint) == 0 && zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound_out, &size) == 0)
        return socket;
    log_event(LOG_ERROR, "cannot bind a socket of the bus", LOG_CSTR("endpoint", endpoint), LOG_CSTR("why", zmq_strerror(errno)));
    if (socket)
        zmq_close(socket);
    return NULL;
}

static bool bind_local(struct link *link)
{
    const struct worker *worker = link->worker;
    char folder[512], path[112];
    snprintf(folder, sizeof folder, "%s/run", worker_settings(worker)->data_folder);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        log_event(LOG_ERROR, "cannot make the folder for sockets", LOG_CSTR("path", folder), LOG_CSTR("why", strerror(errno)));
        return false;
    }
    for (int publisher = 0; publisher <= worker->facts->publishes; publisher++) {
        local_path(link, worker->kind->service, worker->instance, publisher, path, sizeof path);
        if (!path[0]) {
            log_event(LOG_ERROR, "the data folder's path is too long for sockets", LOG_CSTR("path", folder));
            return false;
        }
        void **socket = publisher ? &link->publishers[ROUTER_LOCAL] : &link->routers[ROUTER_LOCAL];
        *socket = bind_socket(link, publisher ? ZMQ_XPUB : ZMQ_ROUTER, path, publisher ? link->publisher : link->endpoint);
        if (!*socket)
            return false;
    }
    return true;
}

/* Behind bus_listen the registry tells the tcp:// address; peers on this machine find the ipc:// socket by its name. */
static bool bind_remote(struct link *link)
{
    const char *listen = worker_settings(link->worker)->bus_listen;
    if (!*listen)
        return true;
    char endpoint[160];
    const char *colon = strrchr(listen, ':');
    bool has_port = colon && !strchr(colon, ']');
    snprintf(endpoint, sizeof endpoint, "tcp://%s%s", listen, has_port ? "" : ":*");
    link->routers[ROUTER_REMOTE] = bind_socket(link, ZMQ_ROUTER, endpoint, link->endpoint);
    if (link->worker->facts->publishes)
        link->publishers[ROUTER_REMOTE] = bind_socket(link, ZMQ_XPUB, endpoint, link->publisher);
    return link->routers[ROUTER_REMOTE] && (link->publishers[ROUTER_REMOTE] || !link->worker->facts->publishes);
}

struct link *link_create(struct worker *worker)
{
    struct link *link = calloc(1, sizeof *link);
    ensure(link);
    link->worker = worker;
    link->last_command = &link->commands;
    pthread_mutex_init(&link->lock, NULL);
    link->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    link->signals = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK); /* blocked by worker_main */
    ensure(link->wake >= 0 && link->signals >= 0);
    link->zmq = zmq_ctx_new();
    ensure(link->zmq);
    link->polled_stale = true;
    atomic_store(&link->turned_ms, clock_monotonic_ms());
    if (!bind_local(link) || !bind_remote(link))
        link_destroy(&link);
    return link;
}

static void close_socket(void *socket, int linger_ms)
{
    if (!socket)
        return;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(socket);
}

void link_destroy(struct link **link)
{
    struct link *it = *link;
    peers_close(it);
    streams_close(it);
    for (int i = 0; i < ROUTER_COUNT; i++) {
        close_socket(it->routers[i], FLUSH_MS); /* the last answers are on their way */
        close_socket(it->publishers[i], 0);
    }
    zmq_ctx_term(it->zmq);
    if (it->peers)
        control_peers_release(it->peers);
    arena_destroy(&it->spare);
    pthread_mutex_destroy(&it->lock);
    close(it->wake);
    close(it->signals);
    poll_set_free(&it->polled);
    free(it);
    *link = NULL;
}

/* ---- polling */

enum { ITEM_WAKE, ITEM_SIGNALS, ITEM_OTHERS };

static void rebuild_polled(struct link *link)
{
    link->polled_stale = false;
    poll_set_clear(&link->polled);
    poll_set_add(&link->polled, NULL, link->wake);
    poll_set_add(&link->polled, NULL, link->signals);
    for (int i = 0; i < ROUTER_COUNT; i++) {
        if (link->routers[i])
            poll_set_add(&link->polled, link->routers[i], -1);
    }
    peers_poll_items(link);
    streams_poll_items(link);
}

static int64_t at_least_zero(int64_t ms)
{
    return ms > 0 ? ms : 0;
}

static long timeout_ms(const struct link *link)
{
    int64_t now_ms = clock_monotonic_ms(), next_ms = park_next_ms(link->worker->park), peers_ms = peers_next_ms(link),
            streams_ms = streams_next_ms(link);
    if (peers_ms < next_ms)
        next_ms = peers_ms;
    if (streams_ms < next_ms)
        next_ms = streams_ms;
    if (link->draining_since_ms && now_ms + DRAIN_STEP_MS < next_ms)
        next_ms = now_ms + DRAIN_STEP_MS;
    return next_ms - now_ms > TURN_MS ? TURN_MS : (long)at_least_zero(next_ms - now_ms);
}

/* ---- draining */

static bool seen_draining(const struct link *link)
{
    for (size_t i = 0; link->peers && i < link->peers->count; i++) {
        if (link->peers->at[i].instance == link->worker->instance)
            return link->peers->at[i].draining;
    }
    return true; /* not listed: nobody sends us anything */
}

static bool drain_is_over(struct link *link, int64_t now_ms)
{
    if (!atomic_load(&link->worker->draining))
        return false;
    if (!link->draining_since_ms) {
        link->draining_since_ms = now_ms;
        log_event(LOG_INFO, "draining");
    }
    /* Parked calls answer what they have. Also those that were parked a moment ago. */
    park_expire(link->worker->park, INT64_MAX);
    int64_t since_ms = now_ms - link->draining_since_ms;
    if (since_ms > DRAIN_MOST_MS)
        return true;
    if (!link->draining_seen_ms && (since_ms >= DRAIN_SEEN_MS || seen_draining(link)))
        link->draining_seen_ms = now_ms;
    if (!link->draining_seen_ms || now_ms - link->draining_seen_ms < DRAIN_QUIET_MS)
        return false;
    return jobs_count(link->worker->jobs) == 0;
}

static void take_signal(struct link *link)
{
    struct signalfd_siginfo info;
    if (read(link->signals, &info, sizeof info) == sizeof info)
        atomic_store(&link->worker->draining, true);
}

static void take_peers(struct link *link)
{
    const struct peers *newest = control_peers(link->worker->control);
    if (link->peers)
        control_peers_release(link->peers);
    link->peers = newest;
    peers_update(link);
    streams_update(link);
    slots_peers_changed(link->worker);
}

void link_run(struct link *link)
{
    take_peers(link);
    for (bool over = false; !over;) {
        if (link->polled_stale)
            rebuild_polled(link);
        const struct poll_item *items = link->polled.items;
        bool any = poll_set_wait(&link->polled, timeout_ms(link));
        if (any && items[ITEM_SIGNALS].ready)
            take_signal(link);
        if (atomic_exchange(&link->peers_changed, false))
            take_peers(link);
        if (any) {
            for (int i = 0, item = ITEM_OTHERS; i < ROUTER_COUNT; i++) {
                if (link->routers[i] && items[item++].ready)
                    serve_router(link, i);
            }
            peers_poll_done(link);
            streams_poll_done(link);
        }
        int64_t now_ms = clock_monotonic_ms();
        atomic_store(&link->turned_ms, now_ms);
        park_expire(link->worker->park, now_ms);
        peers_tick(link, now_ms);
        streams_tick(link, now_ms);
        over = drain_is_over(link, now_ms); /* before the commands: the last job's answer was queued before its end */
        run_commands(link);
    }
    pthread_mutex_lock(&link->lock);
    link->is_over = true;
    pthread_mutex_unlock(&link->lock);
    run_commands(link);
    peers_close(link); /* who still waits for an answer gets UNAVAILABLE */
}
