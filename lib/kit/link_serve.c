/* What comes in on the ROUTER sockets: hellos, requests, cancellations. A request becomes a job and goes to its lane; what we
 * cannot or must not do is refused here, so that no caller waits for nothing. */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/kit/link.h"

enum {
    BURST = 256 /* messages per turn of the loop */,
    JOBS_MAX = 20000,
    LANE_SHARE = 4 /* of what may wait, one lane may fill the fourth part */,
    TIMEOUT_MOST_MS = 24 * 60 * 60 * 1000
};

static void answer(struct link *link, int router, const struct wire_message *request, enum wire_type type, enum fault fault,
                   const struct packed *body)
{
    struct wire_header header = request->header;
    header.major = WIRE_MAJOR;
    header.minor = WIRE_MINOR;
    header.type = (uint8_t)type;
    header.fault = (uint16_t)fault;
    header.caller_rank = (uint8_t)link->worker->facts->rank;
    struct parcel *parcel = parcel_create(request->identity, &header, body->head, body->frames);
    poll_set_used(&link->polled, link->routers[router]);
    if (!parcel_send(link->routers[router], &parcel)) {
        metric_add(link->worker->unsent, 1);
        parcel_destroy(&parcel);
    }
}

static void refuse(struct link *link, int router, const struct wire_message *request, enum fault fault, const char *why)
{
    answer(link, router, request, WIRE_REPLY, fault, &(struct packed){.head = slice_from_cstr(why)});
}

static void answer_hello(struct link *link, int router, struct arena *arena, const struct wire_message *hello)
{
    if (hello->header.major != WIRE_MAJOR)
        log_event(LOG_ERROR, "a peer speaks another version of the bus and is refused", LOG_I64("its major", hello->header.major),
                  LOG_I64("our major", WIRE_MAJOR));
    struct slice head = wire_hello_head(arena, link->worker->kind->service, link->worker->instance);
    answer(link, router, hello, WIRE_HELLO, FAULT_OK, &(struct packed){.head = head});
}

/* Answered here, so that it says something when all handlers are busy. */
static void answer_ping(struct link *link, int router, struct arena *arena, const struct wire_message *request)
{
    struct ping_reply reply = {.queued = lanes_queued(link->worker->lanes), .running = lanes_running(link->worker->lanes)};
    struct packed body;
    message_find(MESSAGE_ping)->pack_reply(arena, &reply, &body);
    answer(link, router, request, WIRE_REPLY, FAULT_OK, &body);
}

/* False: refused, and the arena is not used. */
static bool take_request(struct link *link, int router, struct arena *arena, const struct wire_message *request)
{
    struct worker *worker = link->worker;
    unsigned id = request->header.message;
    if (request->header.caller_rank >= worker->facts->rank) {
        log_event(LOG_ERROR, "a caller ranks too high", LOG_I64("rank", request->header.caller_rank), LOG_I64("message", id));
        refuse(link, router, request, FAULT_INTERNAL, "calls go to higher ranks only");
        return false;
    }
    if (id == MESSAGE_ping) {
        answer_ping(link, router, arena, request);
        return false;
    }
    if (id != MESSAGE_http && !handlers_message(worker, id, NULL)) {
        refuse(link, router, request, FAULT_VERSION_MISMATCH, "this version does not know the message");
        return false;
    }
    size_t bytes = wire_bytes(&request->body), memory = (size_t)worker_settings(worker)->call_memory_max;
    if (bytes > memory) {
        refuse(link, router, request, FAULT_TOO_LARGE, "the message is larger than call_memory_max");
        return false;
    }
    if (jobs_count(worker->jobs) >= JOBS_MAX + park_count(worker->park) || jobs_bytes(worker->jobs) + bytes > memory) {
        metric_add(worker->overload, 1);
        refuse(link, router, request, FAULT_UNAVAILABLE, "overloaded");
        return false;
    }
    struct job *job = job_create(arena);
    uint32_t timeout_ms = request->header.timeout_ms < TIMEOUT_MOST_MS ? request->header.timeout_ms : TIMEOUT_MOST_MS;
    job->item.lane = request->header.lane;
    job->message = *request;
    job->router = router;
    job->received_us = clock_monotonic_us();
    job->deadline_ms = job->received_us / 1000 + timeout_ms;
    job->bytes = bytes;
    job->item.bytes = bytes;
    jobs_add(worker->jobs, job);
    if (lanes_offer(worker->lanes, &job->item, JOBS_MAX / LANE_SHARE, memory / LANE_SHARE))
        return true;
    metric_add(worker->overload, 1);
    refuse(link, router, request, FAULT_UNAVAILABLE, "too many calls wait in this lane");
    jobs_end(worker->jobs, &job); /* with the arena */
    return true;
}

/* True: the arena was taken over. */
static bool serve(struct link *link, int router, struct arena *arena, const struct wire_message *message)
{
    switch (message->header.type) {
    case WIRE_HELLO:
        answer_hello(link, router, arena, message);
        return false;
    case WIRE_REQUEST:
        return take_request(link, router, arena, message);
    case WIRE_CANCEL:
        jobs_cancel(link->worker->jobs, link->worker->park, router, message->identity, message->header.correlation);
        return false;
    default:
        return false; /* from a newer version */
    }
}

void serve_router(struct link *link, int router)
{
    for (int i = 0; i < BURST; i++) {
        struct arena *arena = link_arena(link);
        struct wire_message message;
        bool received = wire_receive(link->routers[router], arena, true, &message);
        int why = received ? 0 : errno;
        bool is_over = why && why != EPROTO && why != EMSGSIZE;
        if (why == EMSGSIZE && message.header.type == WIRE_REQUEST)
            refuse(link, router, &message, FAULT_TOO_LARGE, "the message has too many frames or bytes");
        else if (why && !is_over)
            log_event(LOG_DEBUG, "a malformed message was dropped");
        if (!received || !serve(link, router, arena, &message))
            link_arena_return(link, arena);
        if (is_over)
            return;
    }
}
