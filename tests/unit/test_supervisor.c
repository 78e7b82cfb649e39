/* The life of a data folder, test after test: the first start, and what comes back when things are broken on purpose: workers,
 * PostgreSQL and the supervisor get kill -9. */
#include "supervisor_play.h"

static unsigned mode_of(const char *file)
{
    struct stat facts;
    assert_int_equal(stat(arena_printf(arena, "%s/data/%s", folder, file).at, &facts), 0);
    return facts.st_mode & 0777;
}

static void test_first_start(void **state)
{
    up();
    await_ready("rooms", 0);
    await_ready("signing", 0);
    assert_true(await_ready("postgres", 0) > 0);
    assert_int_equal(mode_of("signing.key"), 0600);
    assert_int_equal(mode_of("tls/server.key"), 0600);
    assert_int_equal(mode_of("."), 0700);
    assert_int_equal(shell("grep -q '^server_name: \"test.example\"$' %s/data/config.yaml", folder), 0);
    assert_int_equal(shell("grep -qE '^ed25519 a_[a-zA-Z]{4} [A-Za-z0-9+/]{43}$' %s/data/signing.key", folder), 0);
    assert_int_equal(shell("openssl x509 -in %s/data/tls/server.crt -noout -checkhost test.example | grep -q 'does match'", folder),
                     0);
    assert_int_equal(shell("test $(%s worker list --data %s/data | grep -c '^rooms') = 2", program, folder), 0);
}

/* A kind's role is its login: there is nothing above it to go back to. */
static void test_worker_cannot_leave_its_role(void **state)
{
    PGconn *session = session_of("myelin_rooms");
    must_run(session, "RESET ROLE; SELECT count(*) FROM account; DELETE FROM published_room WHERE room_id = ''");
    assert_string_equal(failure_of(session, "DELETE FROM account"), "42501");
    assert_string_equal(failure_of(session, "SET ROLE myelin"), "42501");
    assert_string_equal(failure_of(session, "SET SESSION AUTHORIZATION myelin"), "42501");
    PQfinish(session);
}

static void test_second_supervisor_is_refused(void **state)
{
    assert_int_equal(shell("%s up --data %s/data --schema " MYELIN_SOURCE_DIR "/schema 2>%s/second", program, folder, folder), 1);
    assert_int_equal(shell("grep -q 'is in use by process %d' %s/second", (int)supervisor, folder), 0);
}

static void test_killed_worker_returns(void **state)
{
    pid_t before = await_ready("signing", 0);
    kill(before, SIGKILL);
    await_ready("signing", before);
}

static void test_worker_is_replaced(void **state)
{
    pid_t before = await_ready("signing", 0);
    assert_int_equal(shell("%s worker drain signing --data %s/data >/dev/null", program, folder), 0);
    await_ready("signing", before);
    assert_int_equal(shell("%s worker drain nobody --data %s/data 2>/dev/null", program, folder), 1);
}

static void test_reload(void **state)
{
    shell("cp %s/data/config.yaml %s/kept && echo 'log_level: loud' >>%s/data/config.yaml", folder, folder, folder);
    kill(supervisor, SIGHUP);
    await_logged("the new configuration is refused, the old one stays");
    await_logged("config.yaml:[0-9]*: log_level: must be one of: error warn info debug");
    shell("cp %s/kept %s/data/config.yaml && echo 'connections_max: 77' >>%s/data/config.yaml", folder, folder, folder);
    kill(supervisor, SIGHUP);
    await_logged("configuration read again");
    assert_true(await_ready("rooms", 0) > 0);
}

static bool answers_database(void)
{
    return shell("%s status --data %s/data 2>/dev/null | grep -q 'database answers'", program, folder) == 0;
}

static void test_killed_postgres_returns(void **state)
{
    pid_t before = await_ready("postgres", 0);
    kill(before, SIGKILL);
    await_ready("postgres", before);
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (!answers_database() && clock_monotonic_ms() < until_ms)
        usleep(ASK_EACH_US);
    assert_true(answers_database());
}

static void test_nothing_outlives_the_supervisor(void **state)
{
    kill(supervisor, SIGKILL);
    await_everyone_gone();
}

static void test_crashed_folder_recovers(void **state)
{
    up();
    await_ready("rooms", 0);
    pid_t postgres = await_ready("postgres", 0);
    kill(postgres, SIGKILL);
    kill(supervisor, SIGKILL);
    await_everyone_gone();
    up();
    await_ready("rooms", 0);
}

static void test_name_cannot_change(void **state)
{
    int status;
    kill(supervisor, SIGINT); /* as Ctrl-C */
    assert_int_equal(waitpid(supervisor, &status, 0), supervisor);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    await_everyone_gone();
    assert_int_equal(shell("%s up --data %s/data --schema " MYELIN_SOURCE_DIR "/schema --server-name other.example 2>%s/other",
                           program, folder, folder),
                     1);
    assert_int_equal(shell("grep -q 'belongs to the server test.example' %s/other", folder), 0);
    await_everyone_gone();
}

int main(int argc, char **argv)
{
    play_begin(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_start),
        cmocka_unit_test(test_worker_cannot_leave_its_role),
        cmocka_unit_test(test_second_supervisor_is_refused),
        cmocka_unit_test(test_killed_worker_returns),
        cmocka_unit_test(test_worker_is_replaced),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_killed_postgres_returns),
        cmocka_unit_test(test_nothing_outlives_the_supervisor),
        cmocka_unit_test(test_crashed_folder_recovers),
        cmocka_unit_test(test_name_cannot_change),
    };
    return play_end(cmocka_run_group_tests(tests, NULL, NULL));
}
