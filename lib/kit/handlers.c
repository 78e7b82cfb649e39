/* The handler threads: take a job from the lanes, run it to its answer or park it, log one line, count it. Each thread has one
 * arena, emptied between calls; a call that wants more than call_memory_max ends at its boundary as TOO_LARGE. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/crew.h"
#include "lib/kit/link.h"

enum { PARK_MARGIN_MS = 100 /* between a parked call's last moment and its deadline */, OWN_TIMEOUT_MS = 60000 };

/* What became of a run. */
struct outcome {
    const char *name; /* handler or message */
    struct call_metrics *metrics;
    enum fault fault;
    int status; /* HTTP */
    struct packed body;
    const char *detail;
    bool park;
};

/* ---- one run */

static void run_http(struct call *call, const struct job *job, struct outcome *out)
{
    struct worker *worker = call->worker;
    struct http_request *request = arena_new(call->arena, struct http_request);
    if (!message_find(MESSAGE_http)->unpack_request(call->arena, &job->message.body, request)) {
        out->fault = FAULT_VERSION_MISMATCH;
        return;
    }
    call->route = route_find_key((uint64_t)request->route_key);
    if (!call->route || !worker->route_handlers[call->route - routes]) {
        out->fault = FAULT_VERSION_MISMATCH; /* a newer frontend: a newer worker may know it */
        return;
    }
    out->name = call->route->handler;
    out->metrics = &worker->route_metrics[call->route - routes];
    thread_show(call_state_of(call)->thread, out->name, call->trace, job->received_us);
    struct reply reply = call_http_run(call, request);
    out->park = reply.park;
    out->status = reply.status;
    out->detail = call->detail;
    if (reply.park)
        return;
    struct http_reply packed = {.status = reply.status,
                                .content_type = reply.content_type,
                                .headers = {reply.headers, reply.header_count},
                                .body = slice_is_absent(reply.body) ? SLICE("") : reply.body};
    message_find(MESSAGE_http)->pack_reply(call->arena, &packed, &out->body);
}

/* With a fault, the why comes first and the packed reply behind it: see call_bus.c. */
static void run_message(struct call *call, const struct job *job, struct outcome *out)
{
    size_t index;
    const struct message_facts *facts = message_find(job->message.header.message);
    const struct worker_message *handler = handlers_message(call->worker, job->message.header.message, &index);
    out->name = facts->name;
    out->metrics = &call->worker->message_metrics[index];
    thread_show(call_state_of(call)->thread, out->name, call->trace, job->received_us);
    void *request = arena_alloc(call->arena, facts->request_size), *reply = arena_alloc(call->arena, facts->reply_size);
    if (!facts->unpack_request(call->arena, &job->message.body, request)) {
        out->fault = FAULT_VERSION_MISMATCH;
        return;
    }
    out->fault = handler->run(call, request, reply);
    if (out->fault ==
        FAULT_VERSION_MISMATCH) /* of somebody further in. Ours says that no handler has run, and callers count on it */
        out->fault = FAULT_INTERNAL;
    facts->pack_reply(call->arena, reply, &out->body);
    if (!out->fault)
        return;
    size_t count = out->body.frames.len;
    struct slice *frames = arena_new_array(call->arena, count + 1, struct slice);
    frames[0] = out->body.head;
    if (count)
        memcpy(frames + 1, out->body.frames.at, count * sizeof *frames);
    out->body = (struct packed){.head = call->why, .frames = {frames, count + 1}};
    out->detail = slice_is_absent(call->why) ? fault_facts(out->fault)->name : arena_cstr(call->arena, call->why);
}

static void over_limit(void *context)
{
    struct call_state *state = context;
    longjmp(state->boundary, 1);
}

static void begin_call(struct call_state *state, const struct job *job)
{
    struct thread *thread = state->thread;
    arena_on_limit(thread->arena, over_limit, state);
    call_init(state, thread->worker, thread->arena, job->deadline_ms);
    trace_to_hex(job->message.header.trace, state->call.trace);
    state->call.parked_ms = job->parked_ms;
    state->call.wake_topic = job->park.woken_by;
}

/* The call wanted more memory than it may have: everything it made is dropped, and the answer is made in the empty arena. */
static void answer_too_large(struct call_state *state, const struct job *job, struct outcome *out)
{
    arena_reset(state->thread->arena);
    begin_call(state, job);
    struct call *call = &state->call;
    *out = (struct outcome){.name = out->name, .metrics = out->metrics, .fault = FAULT_TOO_LARGE, .detail = "call_memory_max"};
    if (job->own)
        log_event(LOG_ERROR, "a job of our own wanted too much memory");
    if (job->own || job->message.header.message != MESSAGE_http)
        return;
    struct reply reply = call_fail(call, FAULT_TOO_LARGE, NULL);
    struct http_reply packed = {.status = reply.status, .body = reply.body};
    out->fault = FAULT_OK;
    out->status = reply.status;
    message_find(MESSAGE_http)->pack_reply(call->arena, &packed, &out->body);
}

static void run(struct call_state *state, const struct job *job, struct outcome *out)
{
    if (setjmp(state->boundary)) {
        answer_too_large(state, job, out);
        return;
    }
    begin_call(state, job);
    if (job->own) {
        out->name = "own job";
        thread_show(state->thread, out->name, state->call.trace, job->received_us);
        job->own(&state->call, job->own_context);
    } else if (job->message.header.message == MESSAGE_http) {
        run_http(&state->call, job, out);
    } else {
        run_message(&state->call, job, out);
    }
}

/* ---- after the run */

static int status_class(const struct outcome *outcome)
{
    int status = outcome->status ? outcome->status : fault_facts(outcome->fault)->http_status;
    return status / 100 < STATUS_CLASSES ? status / 100 : STATUS_CLASSES - 1;
}

/* Before the answer: who got it finds it counted. */
static void count(const struct job *job, const struct outcome *outcome)
{
    if (!outcome->metrics)
        return;
    metric_add(outcome->metrics->by_status[status_class(outcome)], 1);
    metric_observe_us(outcome->metrics->latency, clock_monotonic_us() - job->received_us - job->parked_ms * 1000);
}

enum { SLOW_US = 1000000 };

/* After it: nobody waits for the line to be written. */
static void log_call(const struct job *job, const struct outcome *outcome)
{
    int64_t us = clock_monotonic_us() - job->received_us;
    bool is_http = job->message.header.message == MESSAGE_http;
    /* What went well and fast is for debugging: at thousands of sends a second a line each costs more than the rest of the kit. */
    bool is_notable = status_class(outcome) == 4 || us - job->parked_ms * 1000 > SLOW_US;
    enum log_level level = status_class(outcome) == 5 ? LOG_WARN : is_http && is_notable ? LOG_INFO : LOG_DEBUG;
    if (job->own || !log_enabled(level))
        return;
    char lane[17];
    snprintf(lane, sizeof lane, "%016" PRIx64, job->item.lane);
    const struct log_field fields[] = {
        LOG_CSTR("call", outcome->name),
        is_http ? LOG_I64("status", outcome->status) : LOG_CSTR("fault", fault_facts(outcome->fault)->name),
        LOG_I64("us", us),
        LOG_I64("parked_ms", job->parked_ms),
        LOG_CSTR("lane", lane),
        LOG_CSTR("detail", outcome->detail),
    };
    size_t fields_count = sizeof fields / sizeof fields[0];
    log_write(level, "call", fields, outcome->detail ? fields_count : fields_count - 1);
}

static void answer(struct worker *worker, const struct job *job, const struct outcome *outcome)
{
    if (job->own || atomic_load(&job->is_cancelled))
        return;
    struct wire_header header = job->message.header;
    header.major = WIRE_MAJOR;
    header.minor = WIRE_MINOR;
    header.type = WIRE_REPLY;
    header.fault = (uint16_t)outcome->fault;
    header.caller_rank = (uint8_t)worker->facts->rank;
    struct packed body = outcome->body;
    if (!wire_fits(&body)) {
        header.fault = FAULT_TOO_LARGE;
        body = (struct packed){.head = SLICE("the answer is too large")};
    }
    struct parcel *parcel = parcel_create(job->message.identity, &header, body.head, body.frames);
    link_send_reply(worker->link, job->router, parcel);
}

/* True: the job is the park's, or back in the lanes, and not ours any more. */
static bool park(struct call_state *state, struct job *job, const char *name, uint64_t since)
{
    struct worker *worker = state->thread->worker;
    int64_t until_ms = state->park_until_ms, last_ms = job->deadline_ms - PARK_MARGIN_MS;
    bool is_next = false;
    if (atomic_load(&worker->draining) && job->parked_ms > 0)
        return false; /* it was told that its time is over, and will not answer */
    job->parked_at_ms = clock_monotonic_ms();
    job->name = name;
    if (!park_add(worker->park, &job->park, state->topics, state->topic_count, until_ms < last_ms ? until_ms : last_ms, since,
                  &is_next))
        lanes_push(worker->lanes, &job->item); /* something was published since the handler looked */
    if (is_next)
        link_poke(worker->link);
    return true;
}

/* How long it was parked. Woken by its time, also by a drain that makes the time come early: the whole. */
static void end_parking(struct job *job)
{
    if (!job->parked_at_ms)
        return;
    job->parked_ms += (job->park.woken_by ? clock_monotonic_ms() : job->park.until_ms) - job->parked_at_ms;
    job->parked_at_ms = 0;
}

void handler_work(struct thread *thread, struct job *job)
{
    struct worker *worker = thread->worker;
    struct call_state state = {.thread = thread};
    struct outcome outcome = {.name = "http"};
    uint64_t since = park_sequence(worker->park);
    bool was_parked = job->parked_at_ms != 0;
    end_parking(job);
    bool is_expired = !job->own && !was_parked && clock_monotonic_ms() > job->deadline_ms;
    if (is_expired)
        metric_add(worker->expired, 1); /* nobody waits for it any more */
    if (!is_expired && !atomic_load(&job->is_cancelled)) {
        char trace[33];
        trace_to_hex(job->message.header.trace, trace);
        log_set_trace(trace);
        run(&state, job, &outcome);
        if (outcome.park && !atomic_load(&job->is_cancelled) && park(&state, job, outcome.name, since)) {
            job = NULL;
        } else {
            if (outcome.park)
                outcome = (struct outcome){.name = outcome.name, .metrics = outcome.metrics, .fault = FAULT_UNAVAILABLE};
            count(job, &outcome);
            answer(worker, job, &outcome);
            log_call(job, &outcome);
        }
        log_set_trace(NULL);
    }
    if (job)
        jobs_end(worker->jobs, &job);
    arena_reset(thread->arena);
    thread_show(thread, NULL, "", 0);
}

bool worker_enqueue(struct worker *worker, struct slice lane, void (*own)(struct call *call, void *context), void *context)
{
    if (atomic_load(&worker->draining))
        return false;
    struct job *job = job_create(arena_create(SIZE_MAX / 2));
    job->item.lane = slice_is_absent(lane) ? 0 : slice_hash(lane);
    job->received_us = clock_monotonic_us();
    job->deadline_ms = job->received_us / 1000 + OWN_TIMEOUT_MS;
    job->own = own;
    job->own_context = context;
    trace_make(job->message.header.trace);
    jobs_add(worker->jobs, job);
    lanes_push(worker->lanes, &job->item);
    return true;
}
