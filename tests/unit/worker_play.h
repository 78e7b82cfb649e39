/* The play of the tests of workers among each other: two real processes that talk over ipc, a `sender` that passes on what it is
 * asked and a `discovery` that does what the server name says. Neither needs a database. What has to take long waits at the play's
 * gate until the test opens it, so that no test guesses how long is long enough. */
#ifndef MYELIN_TESTS_WORKER_PLAY_H
#define MYELIN_TESTS_WORKER_PLAY_H

#include "scripted.h"

#include <stdatomic.h>
#include <sys/file.h>

#include "proto/stubs.h"

/* ---- the callee: does what the server name says */

static atomic_int at_once, most_at_once;

/* The gate is a locked file: a test that dies opens it. */
static inline void wait_at_gate(struct arena *arena, struct slice path)
{
    int gate = open(arena_cstr(arena, path), O_RDONLY | O_CLOEXEC);
    assert_true(gate >= 0);
    while (flock(gate, LOCK_SH) != 0)
        assert_int_equal(errno, EINTR);
    close(gate);
}

static inline enum fault answer_resolve(struct call *call, const void *request_, void *reply_)
{
    const struct resolve_request *request = request_;
    struct resolve_reply *reply = reply_;
    struct slice verb = request->server_name, argument = SLICE("");
    slice_cut(request->server_name, ':', &verb, &argument);
    reply->steps = arena_printf(call->arena, "%s", call->trace);
    reply->host_header = argument;
    int now = atomic_fetch_add(&at_once, 1) + 1, most = atomic_load(&most_at_once);
    while (now > most && !atomic_compare_exchange_weak(&most_at_once, &most, now))
        continue;
    if (slice_eq(verb, SLICE("wait"))) { /* says who waited */
        wait_at_gate(call->arena, argument);
        reply->host_header = arena_printf(call->arena, "%d", (int)getpid());
    }
    atomic_fetch_sub(&at_once, 1);
    reply->valid_until_ms = atomic_load(&most_at_once);
    if (slice_eq(verb, SLICE("eat"))) {
        int64_t megabytes = 0;
        slice_to_i64(argument, &megabytes);
        for (int64_t i = 0; i < megabytes; i++)
            memset(arena_alloc_raw(call->arena, 1024 * 1024), 1, 1024 * 1024);
    }
    if (slice_eq(verb, SLICE("fail"))) {
        call->why = SLICE("as asked");
        return FAULT_PEER;
    }
    if (slice_eq(verb, SLICE("die")))
        raise(SIGKILL);
    return FAULT_OK;
}
static const struct worker_message callee_messages[] = {{MESSAGE_resolve, answer_resolve}, {0, NULL}};
static const struct worker_kind callee = {.service = SERVICE_discovery, .messages = callee_messages};

/* ---- the caller: passes on */

static inline enum fault answer_fetch(struct call *call, const void *request_, void *reply_)
{
    const struct fetch_request *request = request_;
    struct fetch_reply *reply = reply_;
    if (slice_eq(request->uri, SLICE("sign"))) { /* more frames than a message may have */
        struct sign_request many = {
            .payloads = {arena_new_array(call->arena, WIRE_FRAMES_MAX + 1, struct slice), WIRE_FRAMES_MAX + 1}};
        for (size_t i = 0; i < many.payloads.len; i++)
            ((struct slice *)(uintptr_t)many.payloads.at)[i] = SLICE("");
        struct sign_reply signed_;
        return call_sign(call, SLICE_ABSENT, &many, &signed_);
    }
    struct resolve_request ask = {.server_name = request->uri};
    struct resolve_reply answer;
    int64_t begun_ms = clock_monotonic_ms();
    if (request->timeout_ms)
        call->deadline_ms = begun_ms + request->timeout_ms;
    enum fault fault = call_resolve(call, request->destination, &ask, &answer);
    reply->status = clock_monotonic_ms() - begun_ms;
    reply->body = fault ? arena_copy(call->arena, call->why) : answer.host_header;
    reply->content_type = slice_eq(answer.steps, slice_from_cstr(call->trace)) ? SLICE("same trace") : SLICE("other trace");
    return fault;
}
/* A fan-out: a call per destination, collected before one deadline. CONFLICT: they did not run side by side. */
static inline enum fault answer_destination_up(struct call *call, const void *request_, void *reply_)
{
    const struct destination_up_request *request = request_;
    struct bus_ticket *tickets[64];
    assert_true(request->destinations.len <= 64);
    for (size_t i = 0; i < request->destinations.len; i++) {
        struct resolve_request ask = {.server_name = request->destinations.at[i]};
        tickets[i] = call_resolve_send(call, SLICE_ABSENT, &ask);
    }
    enum fault worst = FAULT_OK;
    int64_t most = 0;
    for (size_t i = 0; i < request->destinations.len; i++) {
        struct resolve_reply answer;
        enum fault fault = call_bus_wait(call, tickets[i], &answer);
        worst = fault ? fault : worst;
        most = answer.valid_until_ms > most ? answer.valid_until_ms : most;
    }
    return worst ? worst : most < 2 ? FAULT_CONFLICT : FAULT_OK;
}
static const struct worker_message caller_messages[] = {
    {MESSAGE_fetch, answer_fetch}, {MESSAGE_destination_up, answer_destination_up}, {0, NULL}};
static const struct worker_kind caller = {.service = SERVICE_sender, .messages = caller_messages};

/* ---- the play */

struct play {
    struct stage stage;
    struct actor caller, callee;
    void *socket;  /* to the caller */
    int gate;      /* -1: open */
    char wait[96]; /* what the callee is asked to do for it to wait at the gate */
};

/* Calls that the caller can have at work while all of them wait: its threads, and two stand-ins for each (lib/kit/crew.h). */
enum { CALLER_THREADS = 8, CALLER_PLACES = 3 * CALLER_THREADS };

static inline void introduce_all(struct play *play)
{
    struct actor *actors[] = {&play->caller, &play->callee};
    introduce(&play->stage, actors, 2);
}

static inline void gate_make(struct play *play)
{
    snprintf(play->wait, sizeof play->wait, "wait:%s/gate", play->stage.folder);
    play->gate = open(play->wait + strlen("wait:"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(play->gate >= 0);
    assert_int_equal(flock(play->gate, LOCK_EX), 0);
}

static inline void gate_open(struct play *play)
{
    if (play->gate >= 0)
        close(play->gate);
    play->gate = -1;
}

static inline int open_play(void **state)
{
    struct play *play = calloc(1, sizeof *play);
    stage_open(&play->stage, "call_memory_max=8388608\nthreads.sender=8\nthreads.discovery=8\n");
    gate_make(play);
    play->callee = actor_start(&play->stage, &callee);
    play->caller = actor_start(&play->stage, &caller);
    introduce_all(play);
    play->socket = dial(&play->stage, &play->caller);
    *state = play;
    return 0;
}

static inline int close_play(void **state)
{
    struct play *play = *state;
    struct actor *actors[] = {&play->caller, &play->callee};
    gate_open(play);
    actors_drain(&play->stage, actors, 2);
    zmq_close(play->socket);
    stage_close(&play->stage);
    free(play);
    return 0;
}

#define PLAY(f) cmocka_unit_test_setup_teardown(f, open_play, close_play)

/* All that ask has one lane at the callee. */
static inline uint64_t ask(struct play *play, const char *what, int64_t timeout_ms)
{
    struct fetch_request request = {.destination = SLICE("lane"), .uri = slice_from_cstr(what), .timeout_ms = timeout_ms};
    return send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &request);
}

/* Without a lane: spread over all callees and their threads. */
static inline uint64_t ask_anybody(struct play *play, const char *what)
{
    struct fetch_request request = {.destination = SLICE_ABSENT, .uri = slice_from_cstr(what)};
    return send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &request);
}

static inline enum fault get(struct play *play, uint64_t correlation, struct fetch_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    return receive_reply(&play->stage, play->socket, MESSAGE_fetch, correlation, reply, NULL);
}

/* How many calls an actor works on. */
static inline size_t calls_at(struct play *play, struct actor *actor)
{
    return actor_calls(&play->stage, actor)->count;
}

static inline void await_calls(struct play *play, struct actor *actor, size_t count)
{
    int64_t deadline_ms = clock_monotonic_ms() + 20000;
    while (calls_at(play, actor) != count) {
        assert_true(clock_monotonic_ms() < deadline_ms);
        usleep(5000);
    }
}

/* What the actor was told so far counts for all that it is sent from now on. */
static inline void await_told(struct play *play, struct actor *actor)
{
    actor_calls(&play->stage, actor);
}

#endif
