/* What a worker does not take: too large, too much at once, too late, from too high a rank. The others' calls do not suffer. */
#define MYELIN_KIND sender
#include "worker_play.h"

static void what_is_too_large_is_told(void **state)
{
    struct play *play = *state;
    struct slice why;
    struct fetch_reply reply = {0};
    assert_int_equal(get(play, ask(play, "sign", 0), &reply), FAULT_TOO_LARGE); /* by the sender: there is no signing here */
    char *bytes = arena_alloc_raw(play->stage.arena, 9 * 1024 * 1024);
    memset(bytes, 'x', 9 * 1024 * 1024);
    struct fetch_request large = {.uri = SLICE("echo:x"), .content = slice_of(bytes, 9 * 1024 * 1024)};
    uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &large);
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_fetch, sent, &reply, &why), FAULT_TOO_LARGE);
    struct slice *frames = arena_new_array(play->stage.arena, WIRE_FRAMES_MAX + 10, struct slice);
    struct wire_message many = {.identity = SLICE_ABSENT,
                                .header = {.major = WIRE_MAJOR,
                                           .type = WIRE_REQUEST,
                                           .message = MESSAGE_fetch,
                                           .correlation = ++play->stage.correlation,
                                           .timeout_ms = 20000},
                                .body = {.head = SLICE("\x90"), .frames = {frames, WIRE_FRAMES_MAX + 10}}};
    assert_false(wire_fits(&many.body));
    assert_true(wire_send(play->socket, &many));
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_fetch, many.header.correlation, &reply, &why),
                     FAULT_TOO_LARGE);
    assert_int_equal(get(play, ask(play, "echo:fine", 0), &reply), FAULT_OK);
}

static uint64_t ask_with_a_megabyte(struct play *play, const char *what, const char *lane)
{
    static char bytes[1024 * 1024];
    struct fetch_request request = {.uri = slice_from_cstr(what), .content = slice_of(bytes, sizeof bytes)};
    return send_request(&play->stage, play->socket, MESSAGE_fetch, slice_from_cstr(lane), 20000, &request);
}

/* A quarter of the memory (8 MiB here) may wait in one lane; the others have the rest. */
static void a_full_lane_leaves_room_for_others(void **state)
{
    struct play *play = *state;
    uint64_t sent[5];
    int refused = 0, fine = 0;
    for (int i = 0; i < 4; i++) /* one runs, one waits; what is a little over a megabyte does not fit twice into two */
        sent[i] = ask_with_a_megabyte(play, play->wait, "heavy");
    sent[4] = ask_with_a_megabyte(play, "echo:light", "light");
    struct wire_message in;
    for (int i = 0; i < 5; i++) {
        if (i == 3) /* the refused ones and the light one did not wait for the heavy ones */
            gate_open(play);
        assert_true(receive_within(&play->stage, play->socket, 20000, &in));
        if (in.header.fault) {
            assert_int_equal(in.header.fault, FAULT_UNAVAILABLE);
            assert_true(slice_eq(in.body.head, SLICE("too many calls wait in this lane")));
            assert_true(in.header.correlation == sent[2] || in.header.correlation == sent[3]);
            refused++;
        } else {
            fine++;
        }
    }
    assert_int_equal(refused, 2);
    assert_int_equal(fine, 3);
}

static void overload_and_rank_are_refused(void **state)
{
    struct play *play = *state;
    struct wire_message in;
    for (int i = 0; i < 8; i++)
        ask_with_a_megabyte(play, play->wait, NULL);
    int overloaded = 0;
    for (int i = 0; i < 8; i++) {
        assert_true(receive_within(&play->stage, play->socket, 20000, &in));
        gate_open(play);
        overloaded += in.header.fault == FAULT_UNAVAILABLE && slice_eq(in.body.head, SLICE("overloaded"));
    }
    assert_int_equal(overloaded, 1); /* the eighth is over 8 MiB, by the heads */
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "echo:fine", 0), &reply), FAULT_OK);
    struct fetch_request request = {.uri = SLICE("echo:x")};
    struct wire_message out = {.identity = SLICE_ABSENT,
                               .header = {.major = WIRE_MAJOR,
                                          .type = WIRE_REQUEST,
                                          .message = MESSAGE_fetch,
                                          .correlation = ++play->stage.correlation,
                                          .timeout_ms = 20000,
                                          .caller_rank = RANK_sender}};
    message_find(MESSAGE_fetch)->pack_request(play->stage.arena, &request, &out.body);
    assert_true(wire_send(play->socket, &out));
    assert_true(receive_within(&play->stage, play->socket, 20000, &in));
    assert_int_equal(in.header.fault, FAULT_INTERNAL);
    assert_true(slice_eq(in.body.head, SLICE("calls go to higher ranks only")));
}

static void expired_work_is_dropped(void **state)
{
    struct play *play = *state;
    for (int i = 0; i < CALLER_PLACES; i++)
        ask(play, play->wait, 0);
    await_calls(play, &play->caller, CALLER_PLACES); /* all threads are busy */
    struct fetch_request request = {.uri = SLICE("echo:late")};
    send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 50, &request);
    struct ping_request nothing = {0};
    struct ping_reply load = {0};
    while (load.queued < 1) {
        uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_ping, SLICE_ABSENT, 20000, &nothing);
        assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_ping, sent, &load, NULL), FAULT_OK);
    }
    usleep(60000); /* it is there, and now its time is over */
    gate_open(play);
    struct wire_message in;
    for (int i = 0; i < CALLER_PLACES; i++)
        assert_true(receive_within(&play->stage, play->socket, 20000, &in));
    assert_false(receive_within(&play->stage, play->socket, 300, &in));
}

int main(int argc, char **argv)
{
    const struct worker_kind *const kinds[] = {&callee, &caller};
    scripted_main(argc, argv, kinds, 2);
    const struct CMUnitTest tests[] = {
        PLAY(what_is_too_large_is_told),
        PLAY(a_full_lane_leaves_room_for_others),
        PLAY(overload_and_rank_are_refused),
        PLAY(expired_work_is_dropped),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
