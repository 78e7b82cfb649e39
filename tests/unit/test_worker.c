/* Two real worker processes that talk over ipc: calls, order, deadlines, a peer that dies with calls in flight, memory limits,
 * draining. The caller is a `sender`, the callee a `discovery`; neither needs a database. */
#define MYELIN_KIND sender
#include "scripted.h"

#include <stdatomic.h>

#include "proto/stubs.h"

/* ---- the callee: does what the server name says */

static atomic_int at_once, most_at_once;

static enum fault answer_resolve(struct call *call, const void *request_, void *reply_)
{
    const struct resolve_request *request = request_;
    struct resolve_reply *reply = reply_;
    struct slice verb = request->server_name, argument = SLICE("");
    slice_cut(request->server_name, ':', &verb, &argument);
    int64_t number = 0;
    slice_to_i64(argument, &number);
    reply->steps = arena_printf(call->arena, "%s", call->trace);
    reply->host_header = argument;
    int now = atomic_fetch_add(&at_once, 1) + 1, most = atomic_load(&most_at_once);
    while (now > most && !atomic_compare_exchange_weak(&most_at_once, &most, now))
        continue;
    if (slice_eq(verb, SLICE("sleep")))
        usleep((useconds_t)number * 1000);
    atomic_fetch_sub(&at_once, 1);
    reply->valid_until_ms = atomic_load(&most_at_once);
    if (slice_eq(verb, SLICE("eat"))) {
        for (int64_t i = 0; i < number; i++)
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

static enum fault answer_fetch(struct call *call, const void *request_, void *reply_)
{
    const struct fetch_request *request = request_;
    struct fetch_reply *reply = reply_;
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
static enum fault answer_destination_up(struct call *call, const void *request_, void *reply_)
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
    void *socket; /* to the caller */
};

static void introduce_all(struct play *play)
{
    struct actor *actors[] = {&play->caller, &play->callee};
    introduce(&play->stage, actors, 2);
}

static int open_play(void **state)
{
    struct play *play = calloc(1, sizeof *play);
    stage_open(&play->stage, "call_memory_max=8388608\nthreads.sender=8\nthreads.discovery=8\n");
    play->callee = actor_start(&play->stage, &callee);
    play->caller = actor_start(&play->stage, &caller);
    introduce_all(play);
    play->socket = dial(&play->stage, &play->caller);
    *state = play;
    return 0;
}

static int close_play(void **state)
{
    struct play *play = *state;
    if (play->caller.pid)
        actor_drain(&play->stage, &play->caller);
    if (play->callee.pid)
        actor_drain(&play->stage, &play->callee);
    zmq_close(play->socket);
    stage_close(&play->stage);
    free(play);
    return 0;
}

static uint64_t ask(struct play *play, const char *what, int64_t timeout_ms)
{
    struct fetch_request request = {.destination = SLICE("lane"), .uri = slice_from_cstr(what), .timeout_ms = timeout_ms};
    return send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &request);
}

static enum fault get(struct play *play, uint64_t correlation, struct fetch_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    return receive_reply(&play->stage, play->socket, MESSAGE_fetch, correlation, reply, NULL);
}

static void a_call_passes_two_workers(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "echo:hello", 0), &reply), FAULT_OK);
    assert_true(slice_eq(reply.body, SLICE("hello")));
    assert_true(slice_eq(reply.content_type, SLICE("same trace")));
}

static void a_fault_carries_its_why_and_its_reply(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply = {0};
    assert_int_equal(get(play, ask(play, "fail", 0), &reply), FAULT_PEER);
    assert_true(slice_eq(reply.body, SLICE("as asked")));
    assert_true(slice_eq(reply.content_type, SLICE("same trace")));
}

static void a_slow_callee_ends_at_the_deadline(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    int64_t begun_ms = clock_monotonic_ms();
    assert_int_equal(get(play, ask(play, "sleep:9000", 200), &reply), FAULT_DEADLINE);
    assert_in_range(clock_monotonic_ms() - begun_ms, 190, 8000);
    assert_int_equal(get(play, ask(play, "echo:still there", 0), &reply), FAULT_OK); /* the late answer disturbs nobody */
}

static void a_death_fails_what_is_in_flight_at_once(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "echo:warm", 0), &reply), FAULT_OK);
    uint64_t waiting = ask(play, "sleep:8000", 0);
    usleep(100000);
    int64_t killed_ms = clock_monotonic_ms();
    actor_kill(&play->callee);
    assert_int_equal(get(play, waiting, &reply), FAULT_UNAVAILABLE);
    int64_t took_ms = clock_monotonic_ms() - killed_ms;
    print_message("failed %d ms after the kill: %.*s\n", (int)took_ms, PRI(reply.body));
    assert_true(took_ms < 5000); /* and not the eight seconds that it would have slept */
    assert_int_equal(get(play, ask(play, "echo:nobody", 0), &reply), FAULT_UNAVAILABLE);
    introduce_all(play);
    assert_int_equal(get(play, ask(play, "echo:nobody", 0), &reply), FAULT_UNAVAILABLE);
    play->callee = actor_start(&play->stage, &callee);
    introduce_all(play);
    int64_t deadline_ms = clock_monotonic_ms() + 5000; /* the list travels by another way than the call */
    enum fault fault;
    while ((fault = get(play, ask(play, "echo:back", 0), &reply)) == FAULT_UNAVAILABLE && clock_monotonic_ms() < deadline_ms)
        continue;
    assert_int_equal(fault, FAULT_OK);
}

static void a_callee_that_kills_itself_fails_its_call(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "die", 0), &reply), FAULT_UNAVAILABLE);
    int status;
    assert_int_equal(waitpid(play->callee.pid, &status, 0), play->callee.pid);
    close(play->callee.control);
    play->callee = actor_start(&play->stage, &callee);
    introduce_all(play);
}

static void too_much_memory_ends_the_call_and_nothing_else(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "eat:64", 0), &reply), FAULT_TOO_LARGE);
    assert_int_equal(get(play, ask(play, "eat:4", 0), &reply), FAULT_OK);
}

static void a_fan_out_runs_in_parallel(void **state)
{
    struct play *play = *state;
    struct slice naps[8];
    for (int i = 0; i < 8; i++)
        naps[i] = SLICE("sleep:200");
    struct destination_up_request request = {.destinations = {naps, 8}};
    struct destination_up_reply reply;
    uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_destination_up, SLICE_ABSENT, 20000, &request);
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_destination_up, sent, &reply, NULL), FAULT_OK);
}

static void an_unknown_message_is_refused(void **state)
{
    struct play *play = *state;
    struct room_create_request request = {0};
    struct room_create_reply reply;
    struct slice why;
    uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_room_create, SLICE_ABSENT, 1000, &request);
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_room_create, sent, &reply, &why), FAULT_VERSION_MISMATCH);
}

static void ping_is_answered_while_all_are_busy(void **state)
{
    struct play *play = *state;
    for (int i = 0; i < 12; i++)
        ask(play, "sleep:6000", 0);
    struct ping_request request = {0};
    struct ping_reply reply = {0};
    while (reply.running < 8 || reply.queued < 4) {
        uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_ping, SLICE_ABSENT, 1000, &request);
        assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_ping, sent, &reply, NULL), FAULT_OK);
    }
    assert_int_equal(reply.running, 8);
    assert_int_equal(reply.queued, 4);
    tell(&play->caller, SLICE("{\"type\":\"calls\",\"id\":9}"));
    const struct json *calls = json_get_array(hear(&play->stage, &play->caller, "calls"), "calls");
    assert_int_equal(calls->count, 8);
    assert_true(slice_eq(json_get_string(calls->first, "call"), SLICE("fetch")));
    assert_true(slice_eq(json_get_string(calls->first, "waits_for"), SLICE("resolve")));
    struct wire_message in;
    for (int i = 0; i < 12; i++)
        assert_true(receive_within(&play->stage, play->socket, 30000, &in));
}

static void expired_work_is_dropped(void **state)
{
    struct play *play = *state;
    for (int i = 0; i < 8; i++)
        ask(play, "sleep:400", 0);
    struct fetch_request request = {.uri = SLICE("echo:late")};
    send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 50, &request); /* all threads are busy for longer */
    struct wire_message in;
    for (int i = 0; i < 8; i++)
        assert_true(receive_within(&play->stage, play->socket, 10000, &in));
    assert_false(receive_within(&play->stage, play->socket, 300, &in));
}

/* Junk on the socket is dropped; the worker goes on. */
static void malformed_messages_are_dropped(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    zmq_send(play->socket, "", 0, 0);
    zmq_send(play->socket, "short", 5, 0);
    char noise[200];
    memset(noise, 0xdd, sizeof noise);
    zmq_send(play->socket, noise, sizeof noise, 0);
    struct wire_message out = {
        .header = {.major = WIRE_MAJOR, .type = WIRE_REQUEST, .message = MESSAGE_fetch, .correlation = 77, .timeout_ms = 1000},
        .body = {.head = slice_of("\xdd\xff\xff\xff\xff", 5)}};
    assert_true(wire_send(play->socket, &out));
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_fetch, 77, &reply, NULL), FAULT_VERSION_MISMATCH);
    assert_int_equal(get(play, ask(play, "echo:fine", 0), &reply), FAULT_OK);
}

static void another_major_version_is_told(void **state)
{
    struct play *play = *state;
    struct wire_message out = {.header = {.major = WIRE_MAJOR + 1, .type = WIRE_HELLO}, .body = {.head = SLICE("")}}, in;
    assert_true(wire_send(play->socket, &out));
    assert_true(receive_within(&play->stage, play->socket, 5000, &in));
    assert_int_equal(in.header.type, WIRE_HELLO);
    assert_int_equal(in.header.major, WIRE_MAJOR);
}

/* A drain lets what runs end, and answers it. */
static void draining_finishes_first(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    uint64_t sent = ask(play, "sleep:700", 0);
    usleep(100000);
    tell(&play->caller, SLICE("{\"type\":\"drain\"}"));
    assert_int_equal(get(play, sent, &reply), FAULT_OK);
    assert_non_null(hear(&play->stage, &play->caller, "drained"));
    int status;
    assert_int_equal(waitpid(play->caller.pid, &status, 0), play->caller.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(play->caller.control);
    play->caller.pid = 0;
    kill(play->callee.pid, SIGTERM); /* the same way out */
    assert_int_equal(waitpid(play->callee.pid, &status, 0), play->callee.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(play->callee.control);
    play->callee.pid = 0;
}

/* Machines, played by data folders: tcp with CURVE. With another secret there is no way in. */
static void machines_talk_over_curve(void **state)
{
    struct play *play = *state;
    struct stage here, there, elsewhere;
    stage_open(&here, "bus_listen=127.0.0.1\ncluster_secret=one secret\n");
    stage_open(&there, "bus_listen=127.0.0.1\ncluster_secret=one secret\n");
    struct actor far = actor_start(&there, &callee), near = actor_start(&here, &caller);
    stage_open(&elsewhere, "bus_listen=127.0.0.1\ncluster_secret=a guess\n");
    struct actor stranger = actor_start(&elsewhere, &caller);
    assert_memory_equal(far.endpoint, "tcp://127.0.0.1:", 16);
    struct actor *actors[] = {&far, &near, &stranger};
    introduce(&here, actors, 3);
    struct actor local; /* each is also reached on its own machine, without CURVE */
    for (int i = 0; i < 2; i++) {
        const struct stage *stage = i ? &elsewhere : &here;
        local = i ? stranger : near;
        snprintf(local.endpoint, sizeof local.endpoint, "ipc://%s/run/sender-%s.sock", stage->folder, local.instance);
        void *socket = dial(&play->stage, &local);
        struct fetch_request request = {.destination = SLICE("lane"), .uri = SLICE("echo:far"), .timeout_ms = 3000};
        struct fetch_reply reply = {0};
        /* The secret is compared before anything is said, so the stranger's calls go nowhere. */
        uint64_t sent = send_request(&play->stage, socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &request);
        assert_int_equal(receive_reply(&play->stage, socket, MESSAGE_fetch, sent, &reply, NULL), i ? FAULT_UNAVAILABLE : FAULT_OK);
        assert_true(i || slice_eq(reply.body, SLICE("far")));
        zmq_close(socket);
    }
    actor_drain(&here, &near);
    actor_drain(&elsewhere, &stranger);
    actor_drain(&there, &far);
    stage_close(&here);
    stage_close(&there);
    stage_close(&elsewhere);
}

/* Prints, asserts nothing: numbers belong to the machine. */
static void round_trips(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    void *direct = dial(&play->stage, &play->callee);
    enum { ROUNDS = 2000, WINDOW = 64 };
    int64_t begun_us = clock_monotonic_us();
    for (int i = 0; i < ROUNDS; i++) {
        struct resolve_request request = {.server_name = SLICE("echo:x")};
        struct resolve_reply answer;
        uint64_t sent = send_request(&play->stage, direct, MESSAGE_resolve, SLICE_ABSENT, 5000, &request);
        assert_int_equal(receive_reply(&play->stage, direct, MESSAGE_resolve, sent, &answer, NULL), FAULT_OK);
    }
    int64_t one_us = clock_monotonic_us() - begun_us;
    begun_us = clock_monotonic_us();
    for (int i = 0; i < ROUNDS; i++)
        assert_int_equal(get(play, ask(play, "echo:x", 0), &reply), FAULT_OK);
    int64_t two_us = clock_monotonic_us() - begun_us;
    begun_us = clock_monotonic_us();
    for (int i = 0; i < ROUNDS * 10 + WINDOW; i++) {
        struct resolve_request request = {.server_name = SLICE("echo:x")};
        struct wire_message in;
        if (i < ROUNDS * 10)
            send_request(&play->stage, direct, MESSAGE_resolve, SLICE_ABSENT, 5000, &request);
        if (i >= WINDOW)
            assert_true(receive_within(&play->stage, direct, 5000, &in));
    }
    int64_t many_us = clock_monotonic_us() - begun_us;
    print_message("one hop %.1f us, two hops %.1f us; with %d in flight %.1f us per call\n", (double)one_us / ROUNDS,
                  (double)two_us / ROUNDS, WINDOW, (double)many_us / ROUNDS / 10);
    zmq_close(direct);
}

int main(int argc, char **argv)
{
    const struct worker_kind *const kinds[] = {&callee, &caller};
    scripted_main(argc, argv, kinds, 2);
    const struct CMUnitTest tests[] = {
#define PLAY(f) cmocka_unit_test_setup_teardown(f, open_play, close_play)
        PLAY(a_call_passes_two_workers),
        PLAY(a_fault_carries_its_why_and_its_reply),
        PLAY(a_slow_callee_ends_at_the_deadline),
        PLAY(a_death_fails_what_is_in_flight_at_once),
        PLAY(a_callee_that_kills_itself_fails_its_call),
        PLAY(too_much_memory_ends_the_call_and_nothing_else),
        PLAY(a_fan_out_runs_in_parallel),
        PLAY(an_unknown_message_is_refused),
        PLAY(ping_is_answered_while_all_are_busy),
        PLAY(expired_work_is_dropped),
        PLAY(malformed_messages_are_dropped),
        PLAY(another_major_version_is_told),
        PLAY(draining_finishes_first),
        PLAY(machines_talk_over_curve),
        PLAY(round_trips),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
