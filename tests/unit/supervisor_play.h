/* The supervisor as a real process with a real private PostgreSQL; its workers are the test program, started under their names,
 * which then only speaks the control protocol. */
#ifndef MYELIN_TESTS_SUPERVISOR_PLAY_H
#define MYELIN_TESTS_SUPERVISOR_PLAY_H

#include "lib/base/clock.h"
#include "lib/kit/control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60000, LOOK_EACH_US = 20000, ASK_EACH_US = 100000 /* costs a process */ };

static struct arena *arena;
static char folder[64];
static const char *program;
static pid_t supervisor;
static int metrics_port;

/* ---- the scripted worker */

static struct control *control;

static inline void drain(void *context)
{
    control_drained(control);
}

static inline int worker_main(void)
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

static inline int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int shell(const char *format, ...)
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

static inline void up(void)
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
static inline pid_t ready_pid(const char *kind)
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

static inline pid_t await_ready(const char *kind, pid_t besides)
{
    for (int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS; clock_monotonic_ms() < until_ms; usleep(ASK_EACH_US)) {
        pid_t pid = ready_pid(kind);
        if (pid && pid != besides)
            return pid;
    }
    shell("tail -n 20 %s/log %s/data/postgres.log", folder, folder);
    fail_msg("%s is not ready", kind);
    return 0;
}

static inline int listed(const char *kind)
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
static inline int64_t await_listed(const char *kind, int count)
{
    int64_t start_ms = clock_monotonic_ms();
    while (listed(kind) != count) {
        if (clock_monotonic_ms() - start_ms > PATIENCE_MS)
            fail_msg("not %d of %s", count, kind);
        usleep(ASK_EACH_US);
    }
    return clock_monotonic_ms() - start_ms;
}

/* The log has a line that matches the pattern (basic regular expression). */
static inline bool is_logged(const regex_t *pattern)
{
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    FILE *file = fopen(arena_printf(arena, "%s/log", folder).at, "re");
    while (file && !found && getline(&line, &size, file) > 0)
        found = regexec(pattern, line, 0, NULL, 0) == 0;
    if (file)
        fclose(file);
    free(line);
    return found;
}

static inline void await_logged(const char *text)
{
    regex_t pattern;
    bool found = false;
    assert_int_equal(regcomp(&pattern, text, REG_NOSUB), 0);
    for (int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS; !found && clock_monotonic_ms() < until_ms; usleep(LOOK_EACH_US))
        found = is_logged(&pattern);
    regfree(&pattern);
    if (!found)
        fail_msg("the log does not say: %s", text);
}

/* The value of a line of /metrics that starts with `name `; -1: there is none. */
static inline long long metric(const char *name)
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

static inline void await_metric(const char *name, long long at_least)
{
    for (int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS; clock_monotonic_ms() < until_ms; usleep(ASK_EACH_US))
        if (metric(name) >= at_least)
            return;
    fail_msg("%s is %lld", name, metric(name));
}

/* A session of the private PostgreSQL, as a worker of this kind has. */
static inline PGconn *session_of(const char *user)
{
    const char *url = arena_printf(arena, "host=%s/data/run user=%s dbname=myelin", folder, user).at;
    PGconn *connection = PQconnectdb(url);
    if (PQstatus(connection) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(connection));
    return connection;
}

static inline void must_run(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(connection));
    PQclear(result);
}

/* We are the reaper of all that the killed supervisor leaves: when nobody is left, everything has ended. */
static inline void await_everyone_gone(void)
{
    for (int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS; clock_monotonic_ms() < until_ms; usleep(LOOK_EACH_US))
        if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
            return;
    fail_msg("a process outlived the supervisor");
}

/* The SQLSTATE that a statement ends with. */
static inline const char *failure_of(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    state = arena_printf(arena, "%s", state ? state : "").at;
    PQclear(result);
    return state;
}

/* Below the ports that the kernel gives to connections: those of other tests come and go while the supervisor is down for a moment.
 */
static inline int free_port(void)
{
    for (int port = 12000 + getpid() % 10000;; port++) {
        struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
        int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool is_free = probe >= 0 && bind(probe, (struct sockaddr *)&address, sizeof address) == 0;
        close(probe);
        if (is_free)
            return port;
    }
}

/* In memory, when there is room for PostgreSQL and programs may run there (see tests/lib/throwaway_postgres). */
static inline bool make_folder(void)
{
    struct statvfs facts;
    bool has_room =
        statvfs("/dev/shm", &facts) == 0 && facts.f_bavail * facts.f_frsize >= 2ul << 30 && access("/dev/shm", W_OK) == 0;
    snprintf(folder, sizeof folder, "%s/myelin_test.XXXXXX", has_room && !(facts.f_flag & ST_NOEXEC) ? "/dev/shm" : "/tmp");
    return mkdtemp(folder) != NULL;
}

static inline bool copy_programs(void)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash || !make_folder())
        return false;
    chmod(folder, 0755);
    program = arena_printf(arena, "%s/myelin", folder).at;
    return shell("cp '%.*s/../myelin' %s && cp '%s' %s/myelin-rooms && ln %s/myelin-rooms %s/myelin-signing "
                 "&& mkdir -m 755 %s/doors && ln %s/myelin %s/myelin-rooms %s/doors && ln %s/myelin-rooms %s/doors/myelin-frontend",
                 (int)(slash - self), self, program, self, folder, folder, folder, folder, folder, folder, folder, folder,
                 folder) == 0;
}

/* ---- the program */

/* First in main: as a worker it does not come back. */
static inline void play_begin(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/');
    if (strncmp(name ? name + 1 : argv[0], "myelin-", 7) == 0)
        exit(worker_main());
    arena = arena_create(64 * 1024 * 1024);
    metrics_port = free_port();
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (!copy_programs()) {
        fprintf(stderr, "the program myelin is not built beside this test: build everything first\n");
        exit(1);
    }
}

static inline int play_end(int failed)
{
    if (supervisor > 0)
        kill(supervisor, SIGTERM);
    await_everyone_gone();
    if (!failed)
        shell("rm -rf %s", folder);
    arena_destroy(&arena);
    return failed;
}

#endif
