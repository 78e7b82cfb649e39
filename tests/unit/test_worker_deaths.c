/* Workers that die with calls in flight, and who comes in their place. */
#define MYELIN_KIND sender
#include "worker_play.h"

/* ---- one who calls the caller: with a message that must not be repeated */

static enum fault answer_verify(struct call *call, const void *request_, void *reply_)
{
    const struct verify_request *request = request_;
    struct fetch_request ask = {.destination = SLICE("lane"), .uri = request->key_ids.at[0]};
    struct fetch_reply answer;
    return call_bus(call, message_find(MESSAGE_fetch), SLICE_ABSENT, &ask, &answer); /* ranks are checked at run time too */
}
static const struct worker_message outer_messages[] = {{MESSAGE_verify, answer_verify}, {0, NULL}};
static const struct worker_kind outer = {.service = SERVICE_keys, .messages = outer_messages};

/* ---- deaths */

/* With the only worker, also what may be repeated; nor is anybody there for what comes afterwards. */
static void a_death_fails_what_is_in_flight(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    struct wire_message in;
    assert_int_equal(get(play, ask(play, "echo:warm", 0), &reply), FAULT_OK);
    ask(play, play->wait, 0);
    await_calls(play, &play->callee, 1);
    int64_t killed_ms = clock_monotonic_ms();
    actor_kill(&play->callee);
    ask(play, "echo:nobody", 0);
    for (int i = 0; i < 2; i++) {
        assert_true(receive_within(&play->stage, play->socket, 20000, &in));
        assert_int_equal(in.header.fault, FAULT_UNAVAILABLE); /* and not DEADLINE: the death was noticed */
        print_message("failed %d ms after the kill: %.*s\n", (int)(clock_monotonic_ms() - killed_ms), PRI(in.body.head));
    }
    introduce_all(play);
    await_told(play, &play->caller);
    assert_int_equal(get(play, ask(play, "echo:nobody", 0), &reply), FAULT_UNAVAILABLE);
    play->callee = actor_start(&play->stage, &callee);
    introduce_all(play);
    await_told(play, &play->caller);
    assert_int_equal(get(play, ask(play, "echo:back", 0), &reply), FAULT_OK);
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

/* Nobody is there for a moment: a worker is being replaced. */
static void a_call_waits_for_somebody_to_come(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    struct actor next = actor_start(&play->stage, &callee);
    actor_kill(&play->callee);
    introduce_all(play);
    await_told(play, &play->caller);
    uint64_t waiting = ask(play, "echo:patience", 0);
    await_calls(play, &play->caller, 1);
    play->callee = next;
    introduce_all(play);
    assert_int_equal(get(play, waiting, &reply), FAULT_OK);
    assert_true(slice_eq(reply.body, SLICE("patience")));
}

/* What may be done twice is sent to another one when the first dies with it; once. */
static void a_repeatable_call_survives_its_worker(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    struct actor second = actor_start(&play->stage, &callee), *actors[] = {&play->caller, &play->callee, &second};
    introduce(&play->stage, actors, 3);
    enum { CALLS = 6 };
    uint64_t sent[CALLS];
    char survivor[16];
    for (int i = 0; i < CALLS; i++)
        sent[i] = ask_anybody(play, play->wait);
    while (calls_at(play, &play->callee) == 0)
        usleep(10000);
    actor_kill(&play->callee);
    gate_open(play);
    snprintf(survivor, sizeof survivor, "%d", (int)second.pid);
    for (int i = 0; i < CALLS; i++) {
        struct wire_message in;
        assert_true(receive_within(&play->stage, play->socket, 20000, &in));
        assert_int_equal(in.header.fault, FAULT_OK);
        assert_true(in.header.correlation >= sent[0] && in.header.correlation <= sent[CALLS - 1]);
        assert_true(message_find(MESSAGE_fetch)->unpack_reply(play->stage.arena, &in.body, &reply));
        assert_true(slice_eq(reply.body, slice_from_cstr(survivor)));
    }
    actor_drain(&play->stage, &second);
}

/* What may not is UNAVAILABLE at once: it is not kept for the next worker. */
static void another_call_fails_at_once_with_its_worker(void **state)
{
    struct play *play = *state;
    struct actor front = actor_start(&play->stage, &outer), second = actor_start(&play->stage, &caller);
    struct actor *actors[] = {&play->caller, &play->callee, &front, &second};
    introduce(&play->stage, actors, 4);
    void *socket = dial(&play->stage, &front);
    struct slice what[] = {slice_from_cstr(play->wait)};
    struct verify_request request = {.key_ids = {what, 1}};
    uint64_t sent = send_request(&play->stage, socket, MESSAGE_verify, SLICE_ABSENT, 20000, &request);
    while (calls_at(play, &play->caller) + calls_at(play, &second) == 0)
        usleep(10000);
    actor_kill(&play->caller); /* one of them has it */
    actor_kill(&second);
    play->caller = actor_start(&play->stage, &caller); /* would carry it out */
    introduce(&play->stage, actors, 4);
    gate_open(play);
    struct verify_reply reply = {0};
    assert_int_equal(receive_reply(&play->stage, socket, MESSAGE_verify, sent, &reply, NULL), FAULT_UNAVAILABLE);
    zmq_close(socket);
    actor_drain(&play->stage, &front);
}

int main(int argc, char **argv)
{
    const struct worker_kind *const kinds[] = {&callee, &caller, &outer};
    scripted_main(argc, argv, kinds, 3);
    const struct CMUnitTest tests[] = {
        PLAY(a_death_fails_what_is_in_flight),
        PLAY(a_callee_that_kills_itself_fails_its_call),
        PLAY(a_call_waits_for_somebody_to_come),
        PLAY(a_repeatable_call_survives_its_worker),
        PLAY(another_call_fails_at_once_with_its_worker),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
