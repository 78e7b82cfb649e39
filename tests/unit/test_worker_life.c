/* The heartbeat of a worker, and its end. */
#define MYELIN_KIND sender
#include "worker_play.h"

#include <sys/ptrace.h>

/* ---- the link thread is held (it is the main thread): the process must not look alive */

static int64_t beats_within(struct play *play, int64_t ms)
{
    int64_t count = 0, until_ms = clock_monotonic_ms() + ms;
    for (int64_t left; (left = until_ms - clock_monotonic_ms()) > 0;) {
        zmq_pollitem_t item = {.fd = play->caller.control, .events = ZMQ_POLLIN};
        struct slice packet;
        if (zmq_poll(&item, 1, left) > 0 && control_receive(play->caller.control, play->stage.arena, &packet))
            count += memmem(packet.at, packet.len, "\"load\"", 6) != NULL;
    }
    return count;
}

static void a_stuck_link_stops_the_heartbeat(void **state)
{
    struct play *play = *state;
    int status;
    assert_non_null(hear(&play->stage, &play->caller, "load"));
    assert_int_equal(ptrace(PTRACE_SEIZE, play->caller.pid, NULL, NULL), 0);
    assert_int_equal(ptrace(PTRACE_INTERRUPT, play->caller.pid, NULL, NULL), 0);
    assert_int_equal(waitpid(play->caller.pid, &status, 0), play->caller.pid);
    int64_t deadline_ms = clock_monotonic_ms() + 30000;
    while (beats_within(play, 2500) > 0)
        assert_true(clock_monotonic_ms() < deadline_ms);
    assert_int_equal(ptrace(PTRACE_DETACH, play->caller.pid, NULL, NULL), 0);
    assert_non_null(hear(&play->stage, &play->caller, "load"));
}

/* ---- draining */

/* A drain lets what runs end, and answers it. */
static void draining_finishes_first(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    uint64_t sent = ask(play, play->wait, 0);
    await_calls(play, &play->caller, 1);
    tell(&play->caller, SLICE("{\"type\":\"drain\"}"));
    await_told(play, &play->caller);
    gate_open(play);
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

/* Others hear late that it drains: what they send in the meantime is still answered. */
static void a_drain_waits_for_the_news_to_spread(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    tell(&play->caller, SLICE("{\"type\":\"drain\"}"));
    usleep(400000); /* the list does not show it yet */
    assert_int_equal(get(play, ask(play, "echo:unsuspecting", 0), &reply), FAULT_OK);
    struct slice list =
        arena_printf(play->stage.arena,
                     "{\"type\":\"peers\",\"generation\":9,\"peers\":[{\"instance\":\"%s\",\"kind\":\"sender\",\"endpoint\":\"%s\","
                     "\"publisher\":\"\",\"version\":\"t\",\"draining\":true},{\"instance\":\"%s\",\"kind\":\"discovery\","
                     "\"endpoint\":\"%s\",\"publisher\":\"\",\"version\":\"t\",\"draining\":false}]}",
                     play->caller.instance, play->caller.endpoint, play->callee.instance, play->callee.endpoint);
    tell(&play->caller, list);
    await_told(play, &play->caller);
    assert_int_equal(get(play, ask(play, "echo:late", 0), &reply), FAULT_OK);
    assert_non_null(hear(&play->stage, &play->caller, "drained"));
    int status;
    assert_int_equal(waitpid(play->caller.pid, &status, 0), play->caller.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(play->caller.control);
    play->caller.pid = 0;
}

int main(int argc, char **argv)
{
    const struct worker_kind *const kinds[] = {&callee, &caller};
    scripted_main(argc, argv, kinds, 2);
    const struct CMUnitTest tests[] = {
        PLAY(a_stuck_link_stops_the_heartbeat),
        PLAY(draining_finishes_first),
        PLAY(a_drain_waits_for_the_news_to_spread),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
