/* Our calls to other workers: one DEALER per live worker that was called at least once, connected by the address in the registry
 * and watched by a monitor, because ZeroMQ itself tells nobody when a peer dies: on DISCONNECTED everything in flight to it fails
 * at once. A call that could not be sent goes to the next owner, once; a call that was sent and lost is UNAVAILABLE, and whether it
 * may be repeated is the caller's decision. Runs on the link thread only. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/link.h"
#include "proto/pack.h"

enum { SENT_BUCKETS = 1024, CONNECT_WITHIN_MS = 3000, BURST = 256, NOT_POLLED = 0 };

enum connection_state {
    CONNECTING, /* since the first call; calls wait */
    UP,
    DOWN,    /* was up, or did not come up in time; ZeroMQ keeps trying until the registry takes the peer away */
    REFUSED, /* speaks another major version */
};

struct connection {
    struct connection *next;
    uint64_t instance;
    enum service kind;
    enum connection_state state;
    int64_t since_ms; /* CONNECTING */
    void *socket, *monitor;
    size_t poll_index; /* of the socket in link->items; the monitor is behind it */
    size_t in_flight;
    struct bus_ticket *unsent, **last_unsent;
};

/* ---- tickets */

void bus_ticket_release(struct bus_ticket *ticket)
{
    if (atomic_fetch_sub(&ticket->references, 1) != 1)
        return;
    parcel_destroy(&ticket->parcel);
    arena_destroy(&ticket->arena);
    pthread_mutex_destroy(&ticket->lock);
    pthread_cond_destroy(&ticket->settled);
    free(ticket);
}

void bus_ticket_settle(struct bus_ticket *ticket, enum fault fault, const char *why, struct arena *arena, const struct packed *body)
{
    pthread_mutex_lock(&ticket->lock);
    ticket->fault = fault;
    ticket->why = why;
    ticket->arena = arena;
    if (body)
        ticket->body = *body;
    ticket->is_settled = true;
    pthread_cond_signal(&ticket->settled);
    pthread_mutex_unlock(&ticket->lock);
    bus_ticket_release(ticket);
}

static struct bus_ticket **sent_bucket(struct link *link, uint64_t correlation)
{
    if (!link->sent)
        ensure(link->sent = calloc(SENT_BUCKETS, sizeof *link->sent));
    return &link->sent[correlation % SENT_BUCKETS]; /* counted up: they spread by themselves */
}

static struct connection *connection_find(const struct link *link, uint64_t instance)
{
    struct connection *connection = link->connections;
    while (connection && connection->instance != instance)
        connection = connection->next;
    return connection;
}

static void remember_sent(struct link *link, struct connection *connection, struct bus_ticket *ticket)
{
    struct bus_ticket **bucket = sent_bucket(link, ticket->correlation);
    ticket->instance = connection->instance;
    ticket->next = *bucket;
    *bucket = ticket;
    connection->in_flight++;
    link->sent_count++;
}

/* NULL: unknown; its caller gave up on it. */
static struct bus_ticket *take_sent(struct link *link, uint64_t correlation)
{
    struct bus_ticket **place = sent_bucket(link, correlation);
    while (*place && (*place)->correlation != correlation)
        place = &(*place)->next;
    struct bus_ticket *ticket = *place;
    if (!ticket)
        return NULL;
    *place = ticket->next;
    link->sent_count--;
    struct connection *connection = connection_find(link, ticket->instance);
    if (connection)
        connection->in_flight--;
    return ticket;
}

/* ---- connections */

static void send_hello(struct link *link, struct connection *connection)
{
    struct arena *arena = link_arena(link);
    struct wire_header header = {
        .major = WIRE_MAJOR, .minor = WIRE_MINOR, .type = WIRE_HELLO, .caller_rank = (uint8_t)link->worker->facts->rank};
    struct strbuf head = strbuf_in(arena);
    pack_array(&head, 5);
    pack_i64(&head, WIRE_MAJOR);
    pack_i64(&head, WIRE_MINOR);
    pack_slice(&head, slice_from_cstr(link->worker->facts->name));
    pack_slice(&head, arena_printf(arena, "%016" PRIx64, link->worker->instance));
    pack_slice(&head, slice_from_cstr(MYELIN_VERSION));
    struct wire_message hello = {.header = header, .body = {.head = strbuf_slice(&head)}};
    wire_send(connection->socket, &hello);
    link_arena_return(link, arena);
}

static struct connection *connection_open(struct link *link, const struct peer *peer)
{
    char endpoint[160], monitor[64];
    link_nearest_endpoint(link, peer, false, endpoint, sizeof endpoint);
    struct connection *connection = calloc(1, sizeof *connection);
    ensure(connection);
    *connection = (struct connection){.instance = peer->instance, .kind = peer->kind, .since_ms = clock_monotonic_ms()};
    connection->last_unsent = &connection->unsent;
    connection->socket = zmq_socket(link->zmq, ZMQ_DEALER);
    connection->monitor = zmq_socket(link->zmq, ZMQ_PAIR);
    ensure(connection->socket && connection->monitor);
    snprintf(monitor, sizeof monitor, "inproc://monitor-%016" PRIx64, peer->instance);
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
    bool fine = wire_secure_socket(link->zmq, connection->socket, worker_settings(link->worker), endpoint, false) &&
                zmq_socket_monitor(connection->socket, monitor, events) == 0 && zmq_connect(connection->monitor, monitor) == 0 &&
                zmq_connect(connection->socket, endpoint) == 0;
    if (!fine) {
        log_event(LOG_ERROR, "cannot connect to a worker", LOG_CSTR("endpoint", endpoint), LOG_CSTR("why", zmq_strerror(errno)));
        connection->state = DOWN;
    }
    connection->next = link->connections;
    link->connections = connection;
    link->items_stale = true;
    return connection;
}

static void fail_sent(struct link *link, struct connection *connection, enum fault fault, const char *why)
{
    for (int i = 0; connection->in_flight && i < SENT_BUCKETS; i++) {
        for (struct bus_ticket **place = &link->sent[i]; *place;) {
            struct bus_ticket *ticket = *place;
            if (ticket->instance != connection->instance) {
                place = &ticket->next;
                continue;
            }
            *place = ticket->next;
            link->sent_count--;
            connection->in_flight--;
            bus_ticket_settle(ticket, fault, why, NULL, NULL);
        }
    }
}

static void go(struct link *link, struct bus_ticket *ticket, uint64_t skip);

/* Unsent calls try the next owner. */
static void reroute_unsent(struct link *link, struct connection *connection)
{
    struct bus_ticket *list = connection->unsent;
    connection->unsent = NULL;
    connection->last_unsent = &connection->unsent;
    while (list) {
        struct bus_ticket *ticket = list;
        list = ticket->next;
        go(link, ticket, connection->instance);
    }
}

static void connection_close(struct link *link, struct connection *connection)
{
    struct connection **place = &link->connections;
    while (*place != connection)
        place = &(*place)->next;
    *place = connection->next;
    fail_sent(link, connection, FAULT_UNAVAILABLE, "the worker is gone");
    reroute_unsent(link, connection);
    zmq_socket_monitor(connection->socket, NULL, 0);
    zmq_close(connection->monitor);
    zmq_close(connection->socket);
    free(connection);
    link->items_stale = true;
}

/* ---- sending a call */

/* Without a lane: the peer with the fewest calls of ours in flight; among equals each in turn. */
static const struct peer *pick_idlest(struct link *link, enum service kind, uint64_t skip)
{
    const struct peer *best = NULL;
    size_t best_load = SIZE_MAX, count = link->peers ? link->peers->count : 0;
    unsigned turn = link->rotor++;
    for (size_t i = 0; i < count; i++) {
        const struct peer *peer = &link->peers->at[(i + turn) % count];
        if (peer->kind != kind || peer->draining || (skip && peer->instance == skip))
            continue;
        const struct connection *connection = connection_find(link, peer->instance);
        size_t load = !connection ? 0 : connection->state == DOWN ? SIZE_MAX - 1 : connection->in_flight;
        if (!best || load < best_load) {
            best = peer;
            best_load = load;
        }
    }
    return best;
}

/* Sends the ticket or keeps it for when its connection is up, fails it, or tries the next owner. */
static void go(struct link *link, struct bus_ticket *ticket, uint64_t skip)
{
    const struct peer *peer =
        ticket->lane ? peers_pick(link->peers, ticket->kind, ticket->lane, skip) : pick_idlest(link, ticket->kind, skip);
    if (!peer || (skip && ticket->retried)) {
        bus_ticket_settle(ticket, FAULT_UNAVAILABLE, skip ? "the worker does not take calls" : "no live worker of the kind", NULL,
                          NULL);
        return;
    }
    ticket->retried = skip != 0;
    struct connection *connection = connection_find(link, peer->instance);
    if (!connection)
        connection = connection_open(link, peer);
    if (connection->state == REFUSED) {
        bus_ticket_settle(ticket, FAULT_VERSION_MISMATCH, "the worker speaks another version", NULL, NULL);
    } else if (connection->state == UP && parcel_send(connection->socket, &ticket->parcel)) {
        remember_sent(link, connection, ticket);
    } else if (connection->state == CONNECTING) {
        ticket->next = NULL;
        *connection->last_unsent = ticket;
        connection->last_unsent = &ticket->next;
    } else {
        go(link, ticket, peer->instance);
    }
}

void peers_request(struct link *link, struct bus_ticket *ticket)
{
    go(link, ticket, 0);
}

static bool take_unsent(struct link *link, struct bus_ticket *ticket)
{
    for (struct connection *connection = link->connections; connection; connection = connection->next) {
        for (struct bus_ticket **place = &connection->unsent; *place; place = &(*place)->next) {
            if (*place != ticket)
                continue;
            *place = ticket->next;
            if (!*place)
                connection->last_unsent = place;
            return true;
        }
    }
    return false;
}

static void send_cancel(struct link *link, const struct bus_ticket *ticket)
{
    struct connection *connection = connection_find(link, ticket->instance);
    if (!connection || connection->state != UP)
        return;
    struct wire_message cancel = {.header = {.major = WIRE_MAJOR,
                                             .minor = WIRE_MINOR,
                                             .type = WIRE_CANCEL,
                                             .message = (uint16_t)ticket->message->id,
                                             .correlation = ticket->correlation,
                                             .caller_rank = (uint8_t)link->worker->facts->rank}};
    wire_send(connection->socket, &cancel);
}

/* The call does not wait any more. Its reference came with the command; ours is given up when the ticket was still on its way. */
void peers_abandon(struct link *link, struct bus_ticket *ticket)
{
    pthread_mutex_lock(&ticket->lock);
    bool is_settled = ticket->is_settled;
    pthread_mutex_unlock(&ticket->lock);
    if (!is_settled) {
        bool was_sent = take_sent(link, ticket->correlation) == ticket;
        if (was_sent)
            send_cancel(link, ticket);
        if (was_sent || take_unsent(link, ticket))
            bus_ticket_release(ticket);
    }
    bus_ticket_release(ticket);
}

/* ---- answers and events */

static void check_hello(struct link *link, struct connection *connection, const struct wire_message *hello)
{
    if (hello->header.major == WIRE_MAJOR)
        return;
    log_event(LOG_ERROR, "a worker speaks another version of the bus", LOG_CSTR("kind", service_facts(connection->kind)->name),
              LOG_I64("its major", hello->header.major), LOG_I64("our major", WIRE_MAJOR));
    connection->state = REFUSED;
    fail_sent(link, connection, FAULT_VERSION_MISMATCH, "the worker speaks another version");
    reroute_unsent(link, connection);
}

/* True: the arena was taken over. */
static bool take_answer(struct link *link, struct connection *connection, struct arena *arena, const struct wire_message *message)
{
    if (message->header.type == WIRE_HELLO)
        check_hello(link, connection, message);
    if (message->header.type != WIRE_REPLY)
        return false;
    struct bus_ticket *ticket = take_sent(link, message->header.correlation);
    if (!ticket)
        return false;
    enum fault fault = fault_from_number(message->header.fault);
    bus_ticket_settle(ticket, fault, NULL, arena, &message->body);
    return true;
}

static void take_answers(struct link *link, struct connection *connection)
{
    for (int i = 0; i < BURST; i++) {
        struct arena *arena = link_arena(link);
        struct wire_message message;
        bool received = wire_receive(connection->socket, arena, false, &message);
        bool is_over = !received && errno != EPROTO;
        if (!received || !take_answer(link, connection, arena, &message))
            link_arena_return(link, arena);
        if (is_over)
            return;
    }
}

static void came_up(struct link *link, struct connection *connection)
{
    if (connection->state == REFUSED)
        return;
    connection->state = UP;
    send_hello(link, connection);
    while (connection->state == UP && connection->unsent) {
        struct bus_ticket *ticket = connection->unsent;
        if (!parcel_send(connection->socket, &ticket->parcel))
            break;
        connection->unsent = ticket->next;
        if (!connection->unsent)
            connection->last_unsent = &connection->unsent;
        remember_sent(link, connection, ticket);
    }
    reroute_unsent(link, connection);
}

static void went_down(struct link *link, struct connection *connection, const char *why)
{
    take_answers(link, connection); /* what came before it died */
    if (connection->state != REFUSED)
        connection->state = DOWN;
    fail_sent(link, connection, FAULT_UNAVAILABLE, why);
    reroute_unsent(link, connection);
}

/* A monitor's message is two frames: event (16 bits) with value, and the address. */
static void take_events(struct link *link, struct connection *connection)
{
    for (;;) {
        uint8_t frame[6];
        char address[256];
        if (zmq_recv(connection->monitor, frame, sizeof frame, ZMQ_DONTWAIT) < 0)
            return;
        zmq_recv(connection->monitor, address, sizeof address, 0);
        uint16_t event;
        memcpy(&event, frame, sizeof event);
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            came_up(link, connection);
        else if (event == ZMQ_EVENT_DISCONNECTED)
            went_down(link, connection, "the worker died");
        else
            went_down(link, connection, "the worker refused the handshake");
    }
}

/* ---- the loop's view */

void peers_update(struct link *link)
{
    for (struct connection *connection = link->connections, *next; connection; connection = next) {
        next = connection->next;
        bool is_live = false;
        for (size_t i = 0; i < link->peers->count && !is_live; i++)
            is_live = link->peers->at[i].instance == connection->instance;
        if (!is_live) {
            take_answers(link, connection);
            connection_close(link, connection);
            next = link->connections; /* rerouted calls may have opened others: from the start */
        }
    }
}

void peers_poll_items(struct link *link)
{
    for (struct connection *connection = link->connections; connection; connection = connection->next) {
        connection->poll_index = link->item_count;
        link_poll_add(link, connection->socket, -1);
        link_poll_add(link, connection->monitor, -1);
    }
}

void peers_poll_done(struct link *link, const zmq_pollitem_t *items)
{
    for (struct connection *connection = link->connections; connection; connection = connection->next) {
        if (connection->poll_index == NOT_POLLED)
            continue;
        if (items[connection->poll_index].revents)
            take_answers(link, connection);
        if (items[connection->poll_index + 1].revents)
            take_events(link, connection);
    }
}

int64_t peers_next_ms(const struct link *link)
{
    int64_t next_ms = INT64_MAX;
    for (const struct connection *connection = link->connections; connection; connection = connection->next) {
        if (connection->state == CONNECTING && connection->since_ms + CONNECT_WITHIN_MS < next_ms)
            next_ms = connection->since_ms + CONNECT_WITHIN_MS;
    }
    return next_ms;
}

void peers_tick(struct link *link, int64_t now_ms)
{
    for (struct connection *connection = link->connections; connection; connection = connection->next) {
        if (connection->state == CONNECTING && now_ms >= connection->since_ms + CONNECT_WITHIN_MS) {
            connection->state = DOWN;
            reroute_unsent(link, connection);
        }
    }
}

void peers_close(struct link *link)
{
    if (link->peers) { /* nobody to go to any more */
        control_peers_release(link->peers);
        link->peers = NULL;
    }
    while (link->connections)
        connection_close(link, link->connections);
    free(link->sent);
    link->sent = NULL;
}
