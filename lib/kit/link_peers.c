/* Our calls to other workers: one DEALER per live worker that was called at least once, connected by the address in the registry
 * and watched by a monitor, because ZeroMQ itself tells nobody when a peer dies: on DISCONNECTED everything in flight to it is lost
 * at once. Nothing is sent before the other side's hello says that it is whom we mean.
 * A call that was not carried out goes to the next owner, until all were asked: one that could not be sent, or that was answered
 * VERSION_MISMATCH (the kit says so before a handler runs, never after). When nobody takes it now it is held for some seconds:
 * workers are replaced within that. One that was sent and lost is sent once more when proto/repeatable.def allows that, else it is
 * UNAVAILABLE, and whether to repeat it is the caller's decision. Runs on the link thread only. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/link.h"

enum {
    SENT_BUCKETS = 1024,
    CONNECT_WITHIN_MS = 3000,
    HOLD_MS = 4000, /* service returns in less than five seconds */
    HELD_EACH_MS = 200,
    HELD_MARGIN_MS = 100, /* before the deadline: a caller is told what it waited for in vain */
    BURST = 256,
    NOT_POLLED = 0,
};

enum connection_state {
    CONNECTING, /* since the first call, until its hello; calls wait */
    UP,
    DOWN,    /* was up, or did not come up in time; ZeroMQ keeps trying until the registry takes the peer away */
    REFUSED, /* its hello says that it is not whom we mean, or speaks another major version */
};

struct connection {
    struct connection *next;
    uint64_t instance;
    enum service kind;
    enum connection_state state;
    int64_t since_ms; /* CONNECTING */
    bool is_full;     /* takes no more in this turn of the loop */
    bool is_foreign;  /* REFUSED: because of its version */
    void *socket, *monitor;
    size_t poll_index; /* of the socket in link->polled; the monitor is behind it */
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
    parcel_destroy(&ticket->parcel);
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
    struct wire_message hello = {.header = header,
                                 .body = {.head = wire_hello_head(arena, link->worker->kind->service, link->worker->instance)}};
    poll_set_used(&link->polled, connection->socket);
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
    link->polled_stale = true;
    return connection;
}

static void go(struct link *link, struct bus_ticket *ticket);

static void remember_tried(struct bus_ticket *ticket, uint64_t instance)
{
    if (ticket->tried_count < TRIED_MAX)
        ticket->tried[ticket->tried_count++] = instance;
}

static int64_t give_up_ms(const struct bus_ticket *ticket)
{
    int64_t most_ms = clock_monotonic_ms() + HOLD_MS, last_ms = ticket->deadline_ms - HELD_MARGIN_MS;
    return last_ms < most_ms ? last_ms : most_ms;
}

/* The worker had it and will not answer. */
static void lose(struct link *link, struct bus_ticket *ticket, const char *why)
{
    if (ticket->is_repeated || !message_is_repeatable(ticket->message->id)) {
        bus_ticket_settle(ticket, FAULT_UNAVAILABLE, why, NULL, NULL);
        return;
    }
    ticket->is_repeated = true;
    remember_tried(ticket, ticket->instance);
    ticket->give_up_ms = give_up_ms(ticket);
    go(link, ticket);
}

static void lose_sent(struct link *link, struct connection *connection, const char *why)
{
    struct bus_ticket *lost = NULL;
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
            ticket->next = lost;
            lost = ticket;
        }
    }
    while (lost) {
        struct bus_ticket *ticket = lost;
        lost = ticket->next;
        lose(link, ticket, why);
    }
}

static void go_all(struct link *link, struct bus_ticket *list)
{
    while (list) {
        struct bus_ticket *ticket = list;
        list = ticket->next;
        go(link, ticket);
    }
}

/* Unsent calls try the next owner. */
static void reroute_unsent(struct link *link, struct connection *connection)
{
    struct bus_ticket *list = connection->unsent;
    connection->unsent = NULL;
    connection->last_unsent = &connection->unsent;
    go_all(link, list);
}

/* Somebody new may take them. */
static void offer_held(struct link *link)
{
    struct bus_ticket *list = link->held;
    link->held = NULL;
    link->held_look_ms = clock_monotonic_ms() + HELD_EACH_MS;
    go_all(link, list);
}

static void connection_close(struct link *link, struct connection *connection)
{
    struct connection **place = &link->connections;
    while (*place != connection)
        place = &(*place)->next;
    *place = connection->next;
    connection->state = DOWN;
    lose_sent(link, connection, "the worker is gone");
    reroute_unsent(link, connection);
    zmq_socket_monitor(connection->socket, NULL, 0);
    zmq_close(connection->monitor);
    zmq_close(connection->socket);
    free(connection);
    link->polled_stale = true;
}

/* ---- sending a call */

static bool was_tried(const struct bus_ticket *ticket, uint64_t instance)
{
    for (int i = 0; i < ticket->tried_count; i++) {
        if (ticket->tried[i] == instance)
            return true;
    }
    return false;
}

/* With a lane its owner, as everybody computes it. Without one the peer with the fewest calls of ours in flight; among equals each
 * in turn. Those that are known not to take it are passed over. */
static const struct peer *pick(struct link *link, const struct bus_ticket *ticket)
{
    const struct peer *best = NULL;
    uint64_t best_merit = 0;
    size_t count = link->peers ? link->peers->count : 0;
    unsigned turn = ticket->lane ? 0 : link->rotor++;
    for (size_t i = 0; i < count; i++) {
        const struct peer *peer = &link->peers->at[(i + turn) % count];
        if (peer->kind != ticket->kind || peer->draining || was_tried(ticket, peer->instance))
            continue;
        const struct connection *connection = connection_find(link, peer->instance);
        if (connection && (connection->state == DOWN || connection->state == REFUSED || connection->is_full))
            continue;
        uint64_t merit =
            ticket->lane ? rendezvous_weight(ticket->lane, peer->instance) : UINT64_MAX - (connection ? connection->in_flight : 0);
        if (!best || merit > best_merit) {
            best = peer;
            best_merit = merit;
        }
    }
    return best;
}

static bool is_foreign(const struct link *link, enum service kind)
{
    const struct connection *connection = link->connections;
    while (connection && !(connection->kind == kind && connection->state == REFUSED && connection->is_foreign))
        connection = connection->next;
    return connection != NULL;
}

/* Nobody takes it now. */
static void hold(struct link *link, struct bus_ticket *ticket)
{
    int64_t now_ms = clock_monotonic_ms();
    if (ticket->is_mismatched) {
        bus_ticket_settle(ticket, FAULT_VERSION_MISMATCH, "no worker of the kind knows the message", NULL, NULL);
    } else if (!link->peers || now_ms >= ticket->give_up_ms) {
        bool foreign = is_foreign(link, ticket->kind);
        bus_ticket_settle(ticket, foreign ? FAULT_VERSION_MISMATCH : FAULT_UNAVAILABLE,
                          foreign ? "the worker speaks another version" : "no live worker of the kind", NULL, NULL);
    } else {
        if (!link->held)
            link->held_look_ms = now_ms + HELD_EACH_MS;
        if (ticket->give_up_ms < link->held_look_ms)
            link->held_look_ms = ticket->give_up_ms;
        ticket->next = link->held;
        link->held = ticket;
    }
}

static bool send_now(struct link *link, struct connection *connection, struct bus_ticket *ticket)
{
    int64_t left_ms = ticket->deadline_ms - clock_monotonic_ms();
    uint32_t timeout_ms = (uint32_t)(left_ms < 0 ? 0 : left_ms > UINT32_MAX ? UINT32_MAX : left_ms);
    poll_set_used(&link->polled, connection->socket);
    if (!parcel_send_copy(connection->socket, ticket->parcel, timeout_ms)) {
        connection->is_full = true;
        return false;
    }
    remember_sent(link, connection, ticket);
    return true;
}

/* Sends the ticket, keeps it for when a connection is up, or holds it for when there is somebody. */
static void go(struct link *link, struct bus_ticket *ticket)
{
    const struct peer *peer;
    while ((peer = pick(link, ticket))) {
        struct connection *connection = connection_find(link, peer->instance);
        if (!connection)
            connection = connection_open(link, peer);
        if (connection->state == UP && send_now(link, connection, ticket))
            return;
        if (connection->state != CONNECTING)
            continue;
        ticket->next = NULL;
        *connection->last_unsent = ticket;
        connection->last_unsent = &ticket->next;
        return;
    }
    hold(link, ticket);
}

void peers_request(struct link *link, struct bus_ticket *ticket)
{
    ticket->give_up_ms = give_up_ms(ticket);
    go(link, ticket);
}

static bool take_held(struct link *link, struct bus_ticket *ticket)
{
    struct bus_ticket **place = &link->held;
    while (*place && *place != ticket)
        place = &(*place)->next;
    if (!*place)
        return false;
    *place = ticket->next;
    return true;
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
    poll_set_used(&link->polled, connection->socket);
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
        if (was_sent || take_unsent(link, ticket) || take_held(link, ticket))
            bus_ticket_release(ticket);
    }
    bus_ticket_release(ticket);
}

/* ---- answers and events */

static void send_unsent(struct link *link, struct connection *connection)
{
    while (connection->unsent) {
        struct bus_ticket *ticket = connection->unsent;
        struct bus_ticket *next = ticket->next;
        if (!send_now(link, connection, ticket))
            break;
        connection->unsent = next;
        if (!connection->unsent)
            connection->last_unsent = &connection->unsent;
    }
    reroute_unsent(link, connection);
}

static void take_hello(struct link *link, struct connection *connection, const struct wire_message *hello)
{
    const char *objection = wire_hello_objection(hello, connection->kind, connection->instance);
    if (!objection) {
        connection->state = UP;
        connection->is_full = false;
        send_unsent(link, connection);
        offer_held(link);
        return;
    }
    log_event(LOG_ERROR, "a worker is not called", LOG_CSTR("why", objection),
              LOG_CSTR("kind", service_facts(connection->kind)->name), LOG_I64("its major", hello->header.major),
              LOG_I64("our major", WIRE_MAJOR));
    connection->state = REFUSED;
    connection->is_foreign = hello->header.major != WIRE_MAJOR;
    lose_sent(link, connection, "the worker speaks another version");
    reroute_unsent(link, connection);
}

/* It was not carried out: others are asked while there are any. */
static bool goes_on(struct link *link, struct bus_ticket *ticket, enum fault fault)
{
    if (fault != FAULT_VERSION_MISMATCH || ticket->tried_count == TRIED_MAX)
        return false;
    remember_tried(ticket, ticket->instance);
    if (!pick(link, ticket))
        return false;
    ticket->is_mismatched = true;
    go(link, ticket);
    return true;
}

/* True: the arena was taken over. */
static bool take_answer(struct link *link, struct connection *connection, struct arena *arena, const struct wire_message *message)
{
    if (message->header.type == WIRE_HELLO)
        take_hello(link, connection, message);
    if (message->header.type != WIRE_REPLY)
        return false;
    struct bus_ticket *ticket = take_sent(link, message->header.correlation);
    enum fault fault = fault_from_number(message->header.fault);
    if (!ticket || goes_on(link, ticket, fault))
        return false;
    bus_ticket_settle(ticket, fault, NULL, arena, &message->body);
    return true;
}

static void take_large_answer(struct link *link, const struct wire_message *message)
{
    struct bus_ticket *ticket = message->header.type == WIRE_REPLY ? take_sent(link, message->header.correlation) : NULL;
    if (ticket)
        bus_ticket_settle(ticket, FAULT_TOO_LARGE, "the answer is too large", NULL, NULL);
}

static void take_answers(struct link *link, struct connection *connection)
{
    for (int i = 0; i < BURST; i++) {
        struct arena *arena = link_arena(link);
        struct wire_message message;
        bool received = wire_receive(connection->socket, arena, false, &message);
        int why = received ? 0 : errno;
        if (why == EMSGSIZE)
            take_large_answer(link, &message);
        if (!received || !take_answer(link, connection, arena, &message))
            link_arena_return(link, arena);
        if (why && why != EPROTO && why != EMSGSIZE)
            return;
    }
}

/* The handshake is done. Calls wait for its hello. */
static void came_up(struct link *link, struct connection *connection)
{
    connection->state = CONNECTING;
    connection->since_ms = clock_monotonic_ms();
    send_hello(link, connection);
}

static void went_down(struct link *link, struct connection *connection, const char *why)
{
    take_answers(link, connection); /* what came before it died */
    if (connection->state != REFUSED)
        connection->state = DOWN;
    lose_sent(link, connection, why);
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
    offer_held(link);
}

void peers_poll_items(struct link *link)
{
    for (struct connection *connection = link->connections; connection; connection = connection->next) {
        connection->poll_index = poll_set_add(&link->polled, connection->socket, -1);
        poll_set_add(&link->polled, connection->monitor, -1);
    }
}

void peers_poll_done(struct link *link)
{
    for (struct connection *connection = link->connections; connection; connection = connection->next) {
        if (connection->poll_index == NOT_POLLED)
            continue;
        if (link->polled.items[connection->poll_index].ready)
            take_answers(link, connection);
        if (link->polled.items[connection->poll_index + 1].ready)
            take_events(link, connection);
    }
}

int64_t peers_next_ms(const struct link *link)
{
    int64_t next_ms = link->held ? link->held_look_ms : INT64_MAX;
    for (const struct connection *connection = link->connections; connection; connection = connection->next) {
        if (connection->state == CONNECTING && connection->since_ms + CONNECT_WITHIN_MS < next_ms)
            next_ms = connection->since_ms + CONNECT_WITHIN_MS;
    }
    return next_ms;
}

void peers_tick(struct link *link, int64_t now_ms)
{
    for (struct connection *connection = link->connections; connection; connection = connection->next) {
        connection->is_full = false;
        if (connection->state == CONNECTING && now_ms >= connection->since_ms + CONNECT_WITHIN_MS) {
            connection->state = DOWN;
            reroute_unsent(link, connection);
        }
    }
    if (link->held && now_ms >= link->held_look_ms)
        offer_held(link);
}

void peers_close(struct link *link)
{
    if (link->peers) { /* nobody to go to any more */
        control_peers_release(link->peers);
        link->peers = NULL;
    }
    while (link->connections)
        connection_close(link, link->connections);
    offer_held(link); /* in vain */
    free(link->sent);
    link->sent = NULL;
}
