/* Calls to other workers, from the calling thread's side: pack, hand over to the link thread, sleep until the answer or the
 * deadline. A ticket outlives its call when the answer is late: the link thread then drops both. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/kit/link.h"
#include "lib/kit/wait.h"

enum { SOON_MS = 20 /* what takes longer is not a matter of our own workers */ };

static atomic_uint_fast64_t last_correlation;

static void ticket_drop(void *object)
{
    struct bus_ticket *ticket = object;
    pthread_mutex_lock(&ticket->lock);
    bool is_settled = ticket->is_settled;
    pthread_mutex_unlock(&ticket->lock);
    if (is_settled)
        bus_ticket_release(ticket);
    else
        link_abandon(ticket->worker->link, ticket);
}

static struct bus_ticket *ticket_create(struct call *call, const struct message_facts *message, struct slice lane)
{
    struct bus_ticket *ticket = calloc(1, sizeof *ticket);
    ensure(ticket);
    atomic_init(&ticket->references, 2); /* the call's and the link's */
    ticket->worker = call->worker;
    ticket->message = message;
    ticket->kind = message->kind;
    ticket->correlation = atomic_fetch_add(&last_correlation, 1) + 1;
    ticket->lane = slice_is_absent(lane) ? 0 : slice_hash(lane);
    ticket->deadline_ms = call->deadline_ms;
    pthread_mutex_init(&ticket->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&ticket->settled, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return ticket;
}

struct bus_ticket *call_bus_send(struct call *call, const struct message_facts *message, struct slice lane, const void *request)
{
    struct worker *worker = call->worker;
    /* Downhill only, or pools of handlers could wait for each other in a circle. */
    ensure(message->kind < SERVICE_COUNT && worker->facts->rank < service_facts(message->kind)->rank);
    int64_t left_ms = call->deadline_ms - clock_monotonic_ms();
    struct packed body;
    message->pack_request(call->arena, request, &body);
    struct bus_ticket *ticket = ticket_create(call, message, lane);
    arena_defer(call->arena, ticket_drop, ticket);
    if (!wire_fits(&body) || wire_bytes(&body) > (size_t)worker_settings(worker)->call_memory_max) {
        atomic_store(&ticket->references, 1); /* the link never sees it */
        ticket->is_settled = true;
        ticket->fault = FAULT_TOO_LARGE;
        ticket->why = "the message is too large for the bus";
        return ticket;
    }
    struct wire_header header = {
        .major = WIRE_MAJOR,
        .minor = WIRE_MINOR,
        .type = WIRE_REQUEST,
        .message = (uint16_t)message->id,
        .correlation = ticket->correlation,
        .timeout_ms = (uint32_t)(left_ms < 0            ? 0
                                 : left_ms > UINT32_MAX ? UINT32_MAX
                                                        : left_ms),
        .lane = ticket->lane,
        .caller_rank = (uint8_t)worker->facts->rank,
    };
    trace_from_hex(call->trace, header.trace);
    ticket->parcel = parcel_create(SLICE_ABSENT, &header, body.head, body.frames);
    link_send_request(worker->link, ticket);
    return ticket;
}

/* False: that time came first. */
static bool sleep_until_settled(struct bus_ticket *ticket, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    int waited = 0;
    pthread_mutex_lock(&ticket->lock);
    while (!ticket->is_settled && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&ticket->settled, &ticket->lock, &until);
    bool is_settled = ticket->is_settled;
    pthread_mutex_unlock(&ticket->lock);
    return is_settled;
}

/* With a fault, the head is the why, and the reply (some say more: a peer's status and body) is behind it, if there is one. */
static bool unpack(struct call *call, const struct bus_ticket *ticket, void *reply)
{
    const struct packed *body = &ticket->body;
    if (!ticket->fault)
        return ticket->message->unpack_reply(call->arena, body, reply);
    call->why = body->head;
    struct packed inner = {.head = body->frames.len ? body->frames.at[0] : SLICE_ABSENT};
    if (body->frames.len)
        inner.frames = (struct slices){body->frames.at + 1, body->frames.len - 1};
    return !body->frames.len || ticket->message->unpack_reply(call->arena, &inner, reply);
}

enum fault call_bus_wait(struct call *call, struct bus_ticket *ticket, void *reply)
{
    memset(reply, 0, ticket->message->reply_size);
    call->why = SLICE_ABSENT;
    wait_begin(ticket->message->name, SLICE_ABSENT);
    int64_t soon_ms = clock_monotonic_ms() + SOON_MS;
    bool is_settled = sleep_until_settled(ticket, soon_ms < ticket->deadline_ms ? soon_ms : ticket->deadline_ms);
    if (!is_settled && soon_ms < ticket->deadline_ms) {
        wait_long();
        is_settled = sleep_until_settled(ticket, ticket->deadline_ms);
    }
    wait_end();
    if (!is_settled)
        return FAULT_DEADLINE;
    if (ticket->why)
        call->why = slice_from_cstr(ticket->why);
    if (!ticket->arena)
        return ticket->fault;
    return unpack(call, ticket, reply) ? ticket->fault : FAULT_VERSION_MISMATCH;
}

enum fault call_bus(struct call *call, const struct message_facts *message, struct slice lane, const void *request, void *reply)
{
    return call_bus_wait(call, call_bus_send(call, message, lane, request), reply);
}
