/* The supervisor as a real process with a real private PostgreSQL; its workers are this program, started under their names, which
 * then only speaks the control protocol. Things are broken on purpose: workers, PostgreSQL and the supervisor get kill -9. */
#include "lib/base/clock.h"
#include "lib/kit/control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60000 };

static struct arena *arena;
static char folder[] = "/tmp/myelin_test.XXXXXX";
static const char *program;
static pid_t supervisor;
static int metrics_port;

/* ---- the scripted worker */

static struct control *control;

static void drain(void *context)
{
    control_drained(control);
}

static int worker_main(void)
{
    static const struct control_events events = {.drain = drain};
    uint64_t instance;
    if (!(control = control_attach(CONTROL_DESCRIPTOR, &events)) || getrandom(&instance, sizeof instance, 0) < 0)
        return 1;
    control_ready(control, instance | 1, "ipc:///nowhere", "");
    for (;;)
        pause();
}

/* ---- helpers */

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *format, ...)
{
    char command[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    fflush(NULL);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void up(void)
{
    char log[256], *arguments[] = {(char *)(uintptr_t)program,
                                   "up",
                                   "--quiet",
                                   "--data",
                                   (char *)(uintptr_t)arena_printf(arena, "%s/data", folder).at,
                                   "--schema",
                                   MYELIN_SOURCE_DIR "/schema",
                                   "--server-name",
                                   "test.example",
                                   "--set",
                                   "replicas.rooms=2",
                                   "--set",
                                   (char *)(uintptr_t)arena_printf(arena, "metrics_listen=127.0.0.1:%d", metrics_port).at,
                                   NULL};
    snprintf(log, sizeof log, "%s/log", folder);
    fflush(NULL);
    supervisor = fork();
    if (supervisor == 0) {
        if (!freopen(log, "a", stderr))
            _exit(1);
        execv(program, arguments);
        _exit(127);
    }
    assert_true(supervisor > 0);
}

/* The process's row of `myelin status` when it is ready; pid 0 when it is not. */
static pid_t ready_pid(const char *kind)
{
    char line[512], name[64], third[64], fourth[64], fifth[64];
    pid_t found = 0;
    FILE *pipe = popen(arena_printf(arena, "%s status --data %s/data 2>/dev/null", program, folder).at, "re");
    assert_non_null(pipe);
    while (fgets(line, sizeof line, pipe)) {
        int pid, number;
        if (sscanf(line, "%63s %d %d %63s %63s", name, &number, &pid, fourth, fifth) == 5 && strcmp(name, kind) == 0 &&
            strcmp(fifth, "ready") == 0)
            found = pid;
        else if (sscanf(line, "%63s %d %63s %63s", name, &pid, third, fourth) == 4 && strcmp(name, kind) == 0 &&
                 strcmp(fourth, "ready") == 0)
            found = pid;
    }
    pclose(pipe);
    return found;
}

static pid_t await_ready(const char *kind, pid_t besides)
{
    for (int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS; clock_monotonic_ms() < until_ms; usleep(20000)) {
        pid_t pid = ready_pid(kind);
        if (pid && pid != besides)
            return pid;
    }
    shell("tail -n 20 %s/log %s/data/postgres.log", folder, folder);
    fail_msg("%s is not ready", kind);
    return 0;
}

static int listed(const char *kind)
{
    char line[512];
    int count = 0;
    FILE *pipe = popen(arena_printf(arena, "%s worker list --data %s/data 2>/dev/null", program, folder).at, "re");
    assert_non_null(pipe);
    while (fgets(line, sizeof line, pipe))
        count += strncmp(line, kind, strlen(kind)) == 0;
    pclose(pipe);
    return count;
}

/* How long it took until so many of a kind were listed. */
static int64_t await_listed(const char *kind, int count)
{
    int64_t start_ms = clock_monotonic_ms();
    while (listed(kind) != count) {
        if (clock_monotonic_ms() - start_ms > PATIENCE_MS)
            fail_msg("not %d of %s", count, kind);
        usleep(20000);
    }
    return clock_monotonic_ms() - start_ms;
}

static void await_logged(const char *text)
{
    for (int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS; clock_monotonic_ms() < until_ms; usleep(20000))
        if (shell("grep -q '%s' %s/log", text, folder) == 0)
            return;
    fail_msg("the log does not say: %s", text);
}

static bool answers_database(void)
{
    return shell("%s status --data %s/data 2>/dev/null | grep -q 'database answers'", program, folder) == 0;
}

/* The value of a line of /metrics that starts with `name `; -1: there is none. */
static long long metric(const char *name)
{
    char line[1024];
    long long value = -1;
    FILE *pipe = popen(arena_printf(arena, "curl -s http://127.0.0.1:%d/metrics", metrics_port).at, "re");
    assert_non_null(pipe);
    while (fgets(line, sizeof line, pipe))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ' ')
            value = atoll(line + strlen(name));
    pclose(pipe);
    return value;
}

static void await_metric(const char *name, long long at_least)
{
    for (int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS; clock_monotonic_ms() < until_ms; usleep(50000))
        if (metric(name) >= at_least)
            return;
    fail_msg("%s is %lld", name, metric(name));
}

/* A session of the private PostgreSQL, as a worker of this kind has. */
static PGconn *session_of(const char *user)
{
    const char *url = arena_printf(arena, "host=%s/data/run user=%s dbname=myelin", folder, user).at;
    PGconn *connection = PQconnectdb(url);
    if (PQstatus(connection) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(connection));
    return connection;
}

static void must_run(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(connection));
    PQclear(result);
}

/* We are the reaper of all that the killed supervisor leaves: when nobody is left, everything has ended. */
static void await_everyone_gone(void)
{
    for (int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS; clock_monotonic_ms() < until_ms; usleep(10000))
        if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
            return;
    fail_msg("a process outlived the supervisor");
}

static unsigned mode_of(const char *file)
{
    struct stat facts;
    assert_int_equal(stat(arena_printf(arena, "%s/data/%s", folder, file).at, &facts), 0);
    return facts.st_mode & 0777;
}

/* ---- tests, in order */

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

/* The SQLSTATE that a statement ends with. */
static const char *failure_of(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    state = arena_printf(arena, "%s", state ? state : "").at;
    PQclear(result);
    return state;
}

/* It holds every listener's horizon back (DESIGN §8); one of an operator is only told of, one without a number holds nothing. */
static void test_transaction_without_end_is_ended(void **state)
{
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

/* A worker that stops talking is passed over while another of its kind is there, comes back when it talks, and is killed after ten
 * seconds of silence. The only one of its kind stays on the list: there is nobody to take its calls. */
static void test_silent_worker_is_passed_over(void **state)
{
    pid_t rooms = await_ready("rooms", 0), signing = await_ready("signing", 0);
    await_listed("rooms", 2);
    kill(rooms, SIGSTOP);
    int64_t took_ms = await_listed("rooms", 1);
    print_message("left the list after %lld ms\n", (long long)took_ms);
    assert_true(took_ms >= 1500); /* it may have beaten a second before */
    kill(rooms, SIGCONT);
    await_listed("rooms", 2);
    kill(signing, SIGSTOP);
    await_logged("worker is silent.*\"pid\":%d"[0] ? "worker is silent" : "");
    assert_int_equal(listed("signing"), 1);
    await_ready("signing", signing);
    await_logged("worker hung and was killed");
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

static void test_killed_postgres_returns(void **state)
{
    pid_t before = await_ready("postgres", 0);
    kill(before, SIGKILL);
    await_ready("postgres", before);
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (!answers_database() && clock_monotonic_ms() < until_ms)
        usleep(20000);
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

static int listen_somewhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int on = 1, made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(made, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on); /* as a frontend does */
    assert_int_equal(bind(made, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(made, 1), 0);
    assert_int_equal(getsockname(made, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return made;
}

/* What cannot work is refused before anything starts, in words that name it. */
static void test_refusals(void **state)
{
    int port, taken = listen_somewhere(&port);
    const char *in_use = arena_printf(arena, "client_listen=127.0.0.1:%d", port).at;
    const char *says_in_use = arena_printf(arena, "client_listen 127.0.0.1:%d is in use", port).at;
    const struct {
        const char *setting, *says;
    } refused[] = {
        {in_use, says_in_use},
        {"federation_listen=127.0.0.1", "federation_listen: \"127.0.0.1\" is not address:port"},
        {"client_listen=127.0.0.1:0,ssl", "client_listen: \"ssl\" is not address:port"},
        {"client_listen=no.such.host.invalid:80", "client_listen no.such.host.invalid:80 "},
        {"bus_listen=0.0.0.0", "bus_listen: 0.0.0.0 is no address that other machines can connect to"},
        {"bus_listen=10.0.0.1:7000", "bus_listen: \"10.0.0.1:7000\" must be a numeric address without a port"},
        {"bus_listen=host.example", "bus_listen: \"host.example\" must be a numeric address without a port"},
        {"bus_listen=fd00::1", "bus_listen: an IPv6 address wants brackets: \\[fd00::1\\]"},
        {"bus_listen=[fd00::1]", "bus_listen needs cluster_secret"},
        {"password_cost=free", "password_cost: must be one of: normal cheap"},
        {"default_room_version=13", "default_room_version: must be one of"},
        {"server_name=bad name", "server_name \"bad name\" is not a valid server name"},
        {"replicas=rooms=0,signing=0,frontend=0", "there is nothing to run"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        int status = shell("timeout 20 %s/doors/myelin up --data %s/refused --schema " MYELIN_SOURCE_DIR
                           "/schema --server-name test.example --set federation_listen=127.0.0.1:0 --set client_listen=127.0.0.1:0 "
                           "--set '%s' >%s/why 2>&1",
                           folder, folder, refused[i].setting, folder);
        if (status != 1 || shell("grep -q '%s' %s/why", refused[i].says, folder) != 0) {
            shell("cat %s/why", folder);
            fail_msg("--set %s: exit %d", refused[i].setting, status);
        }
        assert_int_equal(shell("test -e %s/refused/postgres", folder), 1);
    }
    close(taken);
}

static void test_init_refuses_before_it_writes(void **state)
{
    assert_int_equal(shell("%s init --data %s/unnamed --schema " MYELIN_SOURCE_DIR "/schema --server-name 'bad name' 2>%s/why",
                           program, folder, folder),
                     1);
    assert_int_equal(shell("grep -q 'not a valid server name' %s/why", folder), 0);
    assert_int_equal(shell("test -e %s/unnamed/config.yaml -o -e %s/unnamed/signing.key", folder, folder), 1);
}

static bool copy_programs(void)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash || !mkdtemp(folder))
        return false;
    chmod(folder, 0755);
    program = arena_printf(arena, "%s/myelin", folder).at;
    return shell("cp '%.*s/../myelin' %s && cp '%s' %s/myelin-rooms && ln %s/myelin-rooms %s/myelin-signing "
                 "&& mkdir -m 755 %s/doors && ln %s/myelin %s/myelin-rooms %s/doors && ln %s/myelin-rooms %s/doors/myelin-frontend",
                 (int)(slash - self), self, program, self, folder, folder, folder, folder, folder, folder, folder, folder,
                 folder) == 0;
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool had = probe >= 0 && bind(probe, (struct sockaddr *)&address, size) == 0 &&
               getsockname(probe, (struct sockaddr *)&address, &size) == 0;
    close(probe);
    return had ? ntohs(address.sin_port) : 0;
}

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/');
    if (strncmp(name ? name + 1 : argv[0], "myelin-", 7) == 0)
        return worker_main();
    arena = arena_create(16 * 1024 * 1024);
    metrics_port = free_port();
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (!copy_programs()) {
        fprintf(stderr, "the program myelin is not built beside this test: build everything first\n");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_start),
        cmocka_unit_test(test_transaction_without_end_is_ended),
        cmocka_unit_test(test_worker_cannot_leave_its_role),
        cmocka_unit_test(test_second_supervisor_is_refused),
        cmocka_unit_test(test_killed_worker_returns),
        cmocka_unit_test(test_worker_is_replaced),
        cmocka_unit_test(test_silent_worker_is_passed_over),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_killed_postgres_returns),
        cmocka_unit_test(test_nothing_outlives_the_supervisor),
        cmocka_unit_test(test_crashed_folder_recovers),
        cmocka_unit_test(test_name_cannot_change),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_init_refuses_before_it_writes),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (supervisor > 0)
        kill(supervisor, SIGTERM);
    await_everyone_gone();
    if (!failed)
        shell("rm -rf %s", folder);
    arena_destroy(&arena);
    return failed;
}
