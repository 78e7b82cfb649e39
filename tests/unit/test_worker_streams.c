/* What happens between requests: calls that are parked, streams between processes, slots, and the list of what waits for what. */
#include "http_play.h"

static void parking(void **state)
{
    struct play *play = *state;
    struct web web = http(play, "GET", V3 "login?topic=t1&ms=200", NULL, NULL);
    int64_t parked_ms = 0;
    assert_true(slice_eq(json_get_string(web.body, "woken_by"), SLICE("time")));
    assert_true(json_get_i64(web.body, "parked_ms", &parked_ms) && parked_ms >= 200);
    /* Fifty parked calls hold none of the three threads. */
    wait_for_gaps(play, play->socket, 1);
    uint64_t sent[50];
    void *waiting = play->other = dial(&play->stage, &play->accounts);
    for (int i = 0; i < 50; i++)
        sent[i] = send_http(play, waiting, "GET", V3 "login?topic=t2&ms=15000", NULL, NULL);
    wait_for_metric(play, "myelin_calls_parked{kind=\"accounts\"} 50\n");
    expect(http(play, "GET", V3 "account/whoami", "Bearer user-token", NULL), 200, NULL);
    int64_t begun_us = clock_monotonic_us();
    expect(http(play, "POST", V3 "login", NULL, "{\"key\":\"t2\"}"), 200, NULL);
    for (int i = 0; i < 50; i++) {
        struct wire_message in;
        assert_true(receive_within(&play->stage, waiting, 10000, &in));
        assert_int_equal(in.header.fault, 0);
    }
    print_message("woke 50 in %d us, publication included\n", (int)(clock_monotonic_us() - begun_us));
    /* A cancelled one is forgotten. */
    uint64_t gone = send_http(play, waiting, "GET", V3 "login?topic=t3&ms=15000", NULL, NULL);
    wait_for_metric(play, "myelin_calls_parked{kind=\"accounts\"} 1\n");
    struct wire_message cancel = {.header = {.major = WIRE_MAJOR, .type = WIRE_CANCEL, .correlation = gone}}, in;
    assert_true(wire_send(waiting, &cancel));
    wait_for_metric(play, "myelin_calls_parked{kind=\"accounts\"} 0\n");
    assert_false(receive_within(&play->stage, waiting, 100, &in));
    /* A drain answers the parked ones as if their time were over. */
    sent[0] = send_http(play, waiting, "GET", V3 "login?topic=t4&ms=15000", NULL, NULL);
    wait_for_metric(play, "myelin_calls_parked{kind=\"accounts\"} 1\n");
    tell(&play->accounts, SLICE("{\"type\":\"drain\"}"));
    web = receive_http(play, waiting, sent[0]);
    assert_true(slice_eq(json_get_string(web.body, "woken_by"), SLICE("time")));
    assert_true(json_get_i64(web.body, "parked_ms", &parked_ms) && parked_ms >= 14000);
}

static void streams_between_processes(void **state)
{
    struct play *play = *state;
    play->second = actor_start(&play->stage, &accounts);
    introduce_all(play);
    void *other = play->other = dial(&play->stage, &play->second);
    wait_for_gaps(play, other, 2); /* itself and the other */
    enum { ROUNDS = 200 };
    int64_t total_us = 0, by_look = 0, before = number_of(play, other, "gaps");
    for (int i = 0; i < ROUNDS; i++) {
        /* No pause between the two: whatever comes first, the publication is seen, by the look or by the wake. */
        char target[128];
        snprintf(target, sizeof target, V3 "login?topic=x&ms=15000&after=%d", i);
        uint64_t waiting = send_http(play, other, "GET", target, NULL, NULL);
        int64_t begun_us = clock_monotonic_us();
        expect(http(play, "POST", V3 "login", NULL, "{\"key\":\"x\"}"), 200, NULL);
        struct slice woken_by = json_get_string(receive_http(play, other, waiting).body, "woken_by");
        total_us += clock_monotonic_us() - begun_us;
        assert_false(slice_eq(woken_by, SLICE("time")));
        by_look += slice_eq(woken_by, SLICE("a look"));
    }
    print_message("from the publishing request to the woken answer: %.0f us; %d seen by the look\n", (double)total_us / ROUNDS,
                  (int)by_look);
    assert_int_equal(number_of(play, other, "gaps"), before); /* nothing was lost on the way */
    actor_kill(&play->accounts);                              /* what it committed may not have been published: its end is a gap */
    introduce_all(play);
    wait_for_gaps(play, other, before + 1);
    wait_for_gaps(play, other, before + 2); /* what was on its way to PostgreSQL is there by now */
}

/* Nobody knows whether it was committed: those who listen look, at once and once more when it must be decided. */
static void a_lost_commit_is_a_gap_twice(void **state)
{
    struct play *play = *state;
    play->second = actor_start(&play->stage, &accounts);
    introduce_all(play);
    void *other = play->other = dial(&play->stage, &play->second);
    wait_for_gaps(play, other, 2);
    int64_t before = number_of(play, other, "gaps");
    expect(http(play, "POST", V3 "login", NULL, "{\"lose\":true}"), 504, "M_UNKNOWN");
    wait_for_gaps(play, other, before + 1);
    wait_for_gaps(play, other, before + 2);
    assert_int_equal(number_of(play, other, "gaps"), before + 2);
}

/* Whether accounts has a call that waits for that. */
static bool has_call(struct play *play, const char *name, const char *waits_for)
{
    bool there = false;
    json_each (call, actor_calls(&play->stage, &play->accounts))
        there |= slice_eq(json_get_string(call, "call"), slice_from_cstr(name)) &&
                 slice_eq(json_get_string(call, "waits_for"), slice_from_cstr(waits_for));
    return there;
}

static void wait_for_call(struct play *play, const char *name, const char *waits_for)
{
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    while (!has_call(play, name, waits_for)) {
        assert_true(clock_monotonic_ms() < deadline_ms);
        usleep(5000);
    }
}

static void whatever_waits_has_a_name(void **state)
{
    struct play *play = *state;
    void *other = play->other = dial(&play->stage, &play->accounts);
    send_http(play, other, "GET", V3 "login?topic=some%20topic&ms=15000", NULL, NULL);
    wait_for_call(play, "login_flows", "parked: some topic");
    send_http(play, other, "POST", V3 "login", NULL, "{\"read\":true}");
    wait_for_call(play, "login_user", "database: long_read");
    send_http(play, other, "POST", V3 "login", NULL, "{\"background\":true}");
    wait_for_call(play, "sweeper", "database: long_read");
    /* Two connections, both taken */
    send_http(play, other, "POST", V3 "login", NULL, "{\"read\":true}");
    wait_for_call(play, "login_user", "database pool");
    struct wire_message in;
    for (int answers = 0; answers < 3 || has_call(play, "sweeper", "database: long_read");) { /* all but the parked one */
        pg_sql(&pg, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        answers += receive_within(&play->stage, other, 10, &in);
    }
}

static uint64_t slots_of(struct play *play, void *socket)
{
    return (uint64_t)number_of(play, socket, "slots");
}

static void await_all_slots(struct play *play, void *socket)
{
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    while (slots_of(play, socket) != UINT64_MAX) {
        assert_true(clock_monotonic_ms() < deadline_ms);
        usleep(20000);
    }
}

static void slots_have_one_owner(void **state)
{
    struct play *play = *state;
    await_all_slots(play, play->socket);
    play->second = actor_start(&play->stage, &accounts);
    introduce_all(play);
    void *other = play->other = dial(&play->stage, &play->second);
    uint64_t mine = 0, theirs = 0;
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    while (clock_monotonic_ms() < deadline_ms) {
        theirs = slots_of(play, other); /* first: slots go that way, and what has arrived there is gone here */
        mine = slots_of(play, play->socket);
        assert_int_equal(mine & theirs, 0);
        if ((mine | theirs) == UINT64_MAX && theirs)
            break;
        usleep(20000);
    }
    print_message("%d and %d slots\n", __builtin_popcountll(mine), __builtin_popcountll(theirs));
    assert_true((mine | theirs) == UINT64_MAX && mine && theirs);
    int64_t killed_ms = clock_monotonic_ms();
    actor_kill(&play->accounts);
    introduce_all(play);
    await_all_slots(play, other);
    print_message("all slots %d ms after the kill\n", (int)(clock_monotonic_ms() - killed_ms));
}

/* The end of a process does not wait for a PostgreSQL that does not answer. */
static void a_frozen_server_does_not_keep_the_slots(void **state)
{
    struct play *play = *state;
    await_all_slots(play, play->socket);
    struct actor *actors[] = {&play->accounts, &play->second};
    pid_t postmaster = pg_freeze(&pg);
    play->second = actor_start(&play->stage, &accounts); /* somebody to give slots to, which asks the server */
    introduce_all(play);
    usleep(300000);
    actors_drain(&play->stage, actors, 2); /* while it is frozen */
    pg_thaw(postmaster);
}

int main(int argc, char **argv)
{
    const struct worker_kind *const kinds[] = {&accounts, &keys};
    scripted_main(argc, argv, kinds, 2);
    const struct CMUnitTest tests[] = {
        PLAY(parking),
        PLAY(streams_between_processes),
        PLAY(a_lost_commit_is_a_gap_twice),
        PLAY(whatever_waits_has_a_name),
        PLAY(slots_have_one_owner),
        PLAY(a_frozen_server_does_not_keep_the_slots),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, start_database, stop_database);
}
