/* ZeroMQ inside h2o's loop. A ZeroMQ socket tells of events through a descriptor that is *edge* triggered: it becomes readable
 * once, and any call on the socket may take that edge away. So whoever touches the socket must look for messages afterwards, and
 * must do so inside a callback of h2o (facts/STACK.md §2: what is written elsewhere is not flushed). Hence the pump:
 *   - the descriptor's callback drains until EAGAIN;
 *   - after each send a zero-timeout entry is linked, at most one per turn of the loop, which drains again.
 * A second socket, the monitor, tells when the connection is up and when it broke. A worker killed with -9 is noticed through it in
 * less than a millisecond; what it had not answered would otherwise be lost in silence. */
#include "frontend/link.h"

#include "frontend/exchange.h"
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

enum {
    DRAIN_BATCH = 512,
    MONITORED = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
};

static void wants_pump(struct link *link)
{
    if (!h2o_timeout_is_linked(&link->pump))
        h2o_timeout_link(link->loop->events, &link->loop->context.zero_timeout, &link->pump);
}

bool link_send(struct link *link, const struct wire_message *message)
{
    if (!link->up)
        return false;
    bool sent = wire_send(link->socket, message);
    wants_pump(link);
    return sent;
}

/* The worker learns who is at the other end, and we wait for it to say the same: a request that went to a stranger (an address that
 * is somebody else's by now) would be lost. */
static void greet(struct link *link)
{
    struct arena *arena = arena_create(64 * 1024);
    struct wire_message hello = {
        .header = {.major = WIRE_MAJOR, .minor = WIRE_MINOR, .type = WIRE_HELLO, .caller_rank = RANK_frontend},
        .body = {.head = wire_hello_head(arena, SERVICE_frontend, link->loop->front->instance)}};
    wire_send(link->socket, &hello);
    wants_pump(link);
    arena_destroy(&arena);
}

/* A worker that is not whom we mean, or of another major version, is of no use: it is left alone until it leaves the registry. */
static void take_hello(struct link *link, const struct wire_message *hello)
{
    const char *objection = wire_hello_objection(hello, link->kind, link->instance);
    link->up = !objection;
    link->was_up = true;
    if (objection) {
        log_event(LOG_ERROR, "a worker is not called", LOG_CSTR("why", objection),
                  LOG_CSTR("kind", service_facts(link->kind)->name), LOG_I64("its major", hello->header.major),
                  LOG_I64("our major", WIRE_MAJOR));
        exchanges_lost(link);
        return;
    }
    log_event(LOG_DEBUG, "link up", LOG_CSTR("kind", service_facts(link->kind)->name), LOG_I64("loop", link->loop->index));
    exchanges_resume(link);
}

/* Messages until there are none. A reply's handling may send, which is why the caller drains in a loop and the pump comes again. */
static void drain(struct link *link)
{
    for (int i = 0; i < DRAIN_BATCH; i++) {
        struct wire_message message;
        arena_reset(link->inbound);
        if (wire_receive(link->socket, link->inbound, false, &message)) {
            if (message.header.type == WIRE_REPLY)
                exchange_take_reply(link, link->inbound, &message);
            else if (message.header.type == WIRE_HELLO)
                take_hello(link, &message);
        } else if (errno == EAGAIN) {
            arena_reset(link->inbound); /* a large reply's memory goes back now */
            if (link->up && !h2o_linklist_is_empty(&link->waiting))
                exchanges_resume(link);
            return;
        } else if (errno == EMSGSIZE && message.header.type == WIRE_REPLY) {
            message.header.fault = FAULT_INTERNAL;
            message.body.head = SLICE("the answer is too large");
            exchange_take_reply(link, link->inbound, &message);
        } else if (errno == EPROTO || errno == EMSGSIZE) {
            log_event(LOG_WARN, "malformed message, or another major version", LOG_CSTR("kind", service_facts(link->kind)->name));
        } else if (errno != EINTR) {
            return;
        }
    }
    wants_pump(link);
}

/* One event of the monitor: 16 bits of event, 32 bits of value; a second frame names the address. 0: none left. */
static int monitor_receive(void *monitor)
{
    unsigned char frame[64];
    int size = zmq_recv(monitor, frame, sizeof frame, ZMQ_DONTWAIT);
    if (size < 6)
        return 0;
    uint16_t event;
    memcpy(&event, frame, sizeof event);
    char address[256];
    zmq_recv(monitor, address, sizeof address, ZMQ_DONTWAIT);
    return event;
}

static void drain_monitor(struct link *link)
{
    for (int event; (event = monitor_receive(link->monitor));) {
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            greet(link);
        } else if (event == ZMQ_EVENT_DISCONNECTED) {
            link->up = false;
            drain(link); /* answers that came before the end count */
            exchanges_lost(link);
        } else {
            log_event(LOG_WARN, "handshake with a worker failed", LOG_CSTR("kind", service_facts(link->kind)->name),
                      LOG_I64("event", event));
        }
    }
}

static void on_socket_events(h2o_socket_t *socket, const char *error)
{
    drain(socket->data);
}

static void on_monitor_events(h2o_socket_t *socket, const char *error)
{
    drain_monitor(socket->data);
}

static void on_pump(h2o_timeout_entry_t *entry)
{
    struct link *link = H2O_STRUCT_FROM_MEMBER(struct link, pump, entry);
    drain_monitor(link);
    drain(link);
}

/* h2o closes the descriptors of its sockets, ZeroMQ those of its own: each gets one. */
static h2o_socket_t *watch_zmq(struct link *link, void *socket, h2o_socket_cb callback)
{
    int descriptor;
    size_t size = sizeof descriptor;
    ensure(zmq_getsockopt(socket, ZMQ_FD, &descriptor, &size) == 0);
    int ours = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    ensure(ours >= 0);
    h2o_socket_t *events = h2o_evloop_socket_create(link->loop->events, ours, H2O_SOCKET_FLAG_DONT_READ);
    events->data = link;
    h2o_socket_read_start(events, callback);
    return events;
}

/* A worker of this machine that listens on tcp:// for others has an ipc:// socket too, which costs no CURVE (lib/kit/link.c). */
static void nearest_endpoint(const struct loop *loop, const struct peer *peer, char out[256])
{
    int len = snprintf(out, 256, "ipc://%s/run/%s-%016llx.sock", loop->settings->data_folder ? loop->settings->data_folder : "",
                       service_facts(peer->kind)->name, (unsigned long long)peer->instance);
    if (strncmp(peer->endpoint, "tcp://", 6) != 0 || len < 0 || len >= 256 || access(out + strlen("ipc://"), F_OK) != 0)
        snprintf(out, 256, "%s", peer->endpoint);
}

static bool link_connect(struct link *link, const struct peer *peer)
{
    struct loop *loop = link->loop;
    char endpoint[256];
    nearest_endpoint(loop, peer, endpoint);
    char monitored[64];
    snprintf(monitored, sizeof monitored, "inproc://monitor-%p", (void *)link);
    int linger = 0;
    link->socket = zmq_socket(loop->front->zmq, ZMQ_DEALER);
    link->monitor = zmq_socket(loop->front->zmq, ZMQ_PAIR);
    return link->socket && link->monitor && wire_secure_socket(loop->front->zmq, link->socket, loop->settings, endpoint, false) &&
           zmq_setsockopt(link->monitor, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
           zmq_socket_monitor(link->socket, monitored, MONITORED) == 0 && zmq_connect(link->monitor, monitored) == 0 &&
           zmq_connect(link->socket, endpoint) == 0;
}

static void link_free(struct link *link)
{
    h2o_timeout_unlink(&link->pump);
    h2o_linklist_unlink(&link->link);
    if (link->socket_events)
        h2o_socket_close(link->socket_events);
    if (link->monitor_events)
        h2o_socket_close(link->monitor_events);
    if (link->socket) {
        zmq_socket_monitor(link->socket, NULL, 0);
        zmq_close(link->socket);
    }
    if (link->monitor)
        zmq_close(link->monitor);
    arena_destroy(&link->inbound);
    free(link);
}

static struct link *link_open(struct loop *loop, const struct peer *peer)
{
    struct link *link = calloc(1, sizeof *link);
    ensure(link);
    link->loop = loop;
    link->instance = peer->instance;
    link->kind = peer->kind;
    link->opened_ms = clock_monotonic_ms();
    link->pump.cb = on_pump;
    link->inbound = arena_create(SIZE_MAX / 4);
    h2o_linklist_init_anchor(&link->sent);
    h2o_linklist_init_anchor(&link->waiting);
    h2o_linklist_insert(&loop->links, &link->link);
    if (!link_connect(link, peer)) {
        log_event(LOG_ERROR, "cannot connect to a worker", LOG_CSTR("endpoint", peer->endpoint),
                  LOG_CSTR("error", zmq_strerror(errno)));
        link_free(link);
        return NULL;
    }
    link->socket_events = watch_zmq(link, link->socket, on_socket_events);
    link->monitor_events = watch_zmq(link, link->monitor, on_monitor_events);
    wants_pump(link); /* a pipe that was never found empty does not signal */
    return link;
}

struct link *link_find(struct loop *loop, uint64_t instance)
{
    for (h2o_linklist_t *node = loop->links.next; node != &loop->links; node = node->next) {
        struct link *link = H2O_STRUCT_FROM_MEMBER(struct link, link, node);
        if (link->instance == instance)
            return link;
    }
    return NULL;
}

struct link *link_to(struct loop *loop, const struct peer *peer)
{
    struct link *link = link_find(loop, peer->instance);
    return link ? link : link_open(loop, peer);
}

bool link_is_hopeful(const struct link *link, int64_t now_ms)
{
    return link->up || (!link->was_up && now_ms - link->opened_ms < LINK_UP_MS);
}

static bool is_listed(const struct peers *peers, uint64_t instance)
{
    for (size_t i = 0; i < peers->count; i++)
        if (peers->at[i].instance == instance)
            return true;
    return false;
}

void links_prune(struct loop *loop, const struct peers *peers)
{
    for (h2o_linklist_t *node = loop->links.next, *next; node != &loop->links; node = next) {
        next = node->next;
        struct link *link = H2O_STRUCT_FROM_MEMBER(struct link, link, node);
        if (is_listed(peers, link->instance))
            continue;
        link->up = false;
        link->was_up = true;
        drain(link);
        exchanges_lost(link);
        link_free(link);
    }
}

void links_close(struct loop *loop)
{
    while (!h2o_linklist_is_empty(&loop->links))
        link_free(H2O_STRUCT_FROM_MEMBER(struct link, link, loop->links.next));
}
