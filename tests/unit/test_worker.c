/* Calls between two worker processes: what a call brings back, its deadline, fan-outs, what is no call, and what one costs. */
#define MYELIN_KIND sender
#include "worker_play.h"

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
    assert_int_equal(get(play, ask(play, "echo:warm", 0), &reply), FAULT_OK); /* they know each other: the next one is sent */
    int64_t begun_ms = clock_monotonic_ms();
    assert_int_equal(get(play, ask(play, play->wait, 1000), &reply), FAULT_DEADLINE);
    assert_true(clock_monotonic_ms() - begun_ms >= 990);
    gate_open(play);
    await_calls(play, &play->callee, 0);
    assert_int_equal(get(play, ask(play, "echo:still there", 0), &reply), FAULT_OK); /* the late answer disturbs nobody */
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
        naps[i] = slice_from_cstr(play->wait);
    struct destination_up_request request = {.destinations = {naps, 8}};
    struct destination_up_reply reply;
    uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_destination_up, SLICE_ABSENT, 20000, &request);
    await_calls(play, &play->callee, 8);
    gate_open(play);
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_destination_up, sent, &reply, NULL), FAULT_OK);
}

static void an_unknown_message_is_refused(void **state)
{
    struct play *play = *state;
    struct room_create_request request = {0};
    struct room_create_reply reply;
    struct slice why;
    uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_room_create, SLICE_ABSENT, 20000, &request);
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_room_create, sent, &reply, &why), FAULT_VERSION_MISMATCH);
}

static void ping_is_answered_while_all_are_busy(void **state)
{
    struct play *play = *state;
    for (int i = 0; i < CALLER_PLACES + 4; i++)
        ask(play, play->wait, 0); /* one after another: they share a lane */
    struct ping_request request = {0};
    struct ping_reply reply = {0};
    while (reply.running < CALLER_PLACES || reply.queued < 4) {
        uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_ping, SLICE_ABSENT, 20000, &request);
        assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_ping, sent, &reply, NULL), FAULT_OK);
    }
    assert_int_equal(reply.running, CALLER_PLACES);
    assert_int_equal(reply.queued, 4);
    await_calls(play, &play->caller, CALLER_PLACES); /* a call is at work a moment before its thread says so */
    const struct json *calls = actor_calls(&play->stage, &play->caller);
    assert_true(slice_eq(json_get_string(calls->first, "call"), SLICE("fetch")));
    assert_true(slice_eq(json_get_string(calls->first, "waits_for"), SLICE("resolve")));
    gate_open(play);
    struct wire_message in;
    for (int i = 0; i < CALLER_PLACES + 4; i++)
        assert_true(receive_within(&play->stage, play->socket, 20000, &in));
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
        .header = {.major = WIRE_MAJOR, .type = WIRE_REQUEST, .message = MESSAGE_fetch, .correlation = 77, .timeout_ms = 20000},
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
    assert_true(receive_within(&play->stage, play->socket, 20000, &in));
    assert_int_equal(in.header.type, WIRE_HELLO);
    assert_int_equal(in.header.major, WIRE_MAJOR);
}

/* More calls wait for another worker than there are threads: what needs nobody else is answered before them. And when more wait
 * than may ever stand in, each is answered in the end. */
static void those_who_wait_leave_their_place(void **state)
{
    struct play *play = *state;
    struct destination_up_request nobody = {.destinations = {NULL, 0}};
    struct destination_up_reply done;
    struct wire_message in;
    enum { WAITING = CALLER_THREADS + 4, CROWD = 2 * CALLER_PLACES };
    for (int i = 0; i < WAITING; i++)
        ask(play, play->wait, 0);
    uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_destination_up, SLICE_ABSENT, 20000, &nobody);
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_destination_up, sent, &done, NULL), FAULT_CONFLICT);
    for (int i = WAITING; i < CROWD; i++)
        ask(play, play->wait, 0);
    await_calls(play, &play->caller, CALLER_PLACES);
    gate_open(play);
    for (int i = 0; i < CROWD; i++) {
        assert_true(receive_within(&play->stage, play->socket, 20000, &in));
        assert_int_equal(in.header.fault, FAULT_OK);
    }
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
        uint64_t sent = send_request(&play->stage, direct, MESSAGE_resolve, SLICE_ABSENT, 20000, &request);
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
            send_request(&play->stage, direct, MESSAGE_resolve, SLICE_ABSENT, 20000, &request);
        if (i >= WINDOW)
            assert_true(receive_within(&play->stage, direct, 20000, &in));
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
        PLAY(a_call_passes_two_workers),
        PLAY(those_who_wait_leave_their_place),
        PLAY(a_fault_carries_its_why_and_its_reply),
        PLAY(a_slow_callee_ends_at_the_deadline),
        PLAY(too_much_memory_ends_the_call_and_nothing_else),
        PLAY(a_fan_out_runs_in_parallel),
        PLAY(an_unknown_message_is_refused),
        PLAY(ping_is_answered_while_all_are_busy),
        PLAY(malformed_messages_are_dropped),
        PLAY(another_major_version_is_told),
        PLAY(round_trips),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
