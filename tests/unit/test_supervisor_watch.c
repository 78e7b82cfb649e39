/* Whom the supervisor watches: sessions that hold the horizon back, and workers that do not talk. */
#include "supervisor_play.h"

/* It holds every listener's horizon back (DESIGN §8); one of an operator is only told of, one without a number holds nothing. */
static void test_transaction_without_end_is_ended(void **state)
{
    up();
    await_ready("rooms", 0);
    PGconn *operator_session = session_of("myelin"), *reader = session_of("myelin_sync"), *writer = session_of("myelin_rooms");
    must_run(operator_session, "SET idle_in_transaction_session_timeout = 0");
    must_run(reader, "SET idle_in_transaction_session_timeout = 0");
    must_run(operator_session, "BEGIN; SELECT pg_current_xact_id()");
    must_run(reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM room");
    await_metric("myelin_horizon_lag_ms", 1000);
    assert_int_equal(metric("myelin_horizon_offenders_ended_total"), 0);
    must_run(writer, "BEGIN; INSERT INTO published_room VALUES ('!stuck', 0)");
    failure_of(writer, "SELECT pg_sleep(600)");
    assert_non_null(strstr(PQerrorMessage(writer), "terminating connection due to administrator command"));
    await_metric("myelin_horizon_offenders_ended_total", 1);
    assert_int_equal(shell("grep -q 'transaction that held the horizon back was ended.*myelin_rooms.*pg_sleep' %s/log", folder), 0);
    assert_int_equal(shell("grep -q 'holds the horizon of all streams back.*pg_current_xact_id' %s/log", folder), 0);
    must_run(operator_session, "COMMIT");
    must_run(reader, "COMMIT");
    PQfinish(operator_session);
    PQfinish(reader);
    PQfinish(writer);
    assert_true(metric("myelin_table_bytes{table=\"event\"}") > 0);
    assert_true(metric("myelin_table_rows{table=\"event\"}") >= 0);
}

/* A worker that stops talking is passed over while another of its kind is there, comes back when it talks, and is killed after ten
 * seconds of silence. The only one of its kind stays on the list: there is nobody to take its calls. */
static void test_silent_worker_is_passed_over(void **state)
{
    pid_t rooms = await_ready("rooms", 0), signing = await_ready("signing", 0);
    await_listed("rooms", 2);
    kill(rooms, SIGSTOP);
    int64_t took_ms = await_listed("rooms", 1);
    print_message("left the list after %lld ms\n", (long long)took_ms);
    assert_true(took_ms >= 500); /* 2.5 s without a beat, of which one may have passed before, two on a busy machine */
    kill(rooms, SIGCONT);
    await_listed("rooms", 2);
    kill(signing, SIGSTOP);
    await_logged(arena_printf(arena, "worker is silent.*\"pid\":%d}", (int)signing).at);
    assert_int_equal(listed("signing"), 1);
    await_ready("signing", signing);
    await_logged("worker hung and was killed");
}

int main(int argc, char **argv)
{
    play_begin(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transaction_without_end_is_ended),
        cmocka_unit_test(test_silent_worker_is_passed_over),
    };
    return play_end(cmocka_run_group_tests(tests, NULL, NULL));
}
