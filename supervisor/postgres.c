/* See postgres.h. */
#include "supervisor/postgres.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "supervisor/place.h"
#include "supervisor/say.h"
#include "supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOG_BYTES_MAX = 8 * 1024 * 1024, READY_TIMEOUT_MS = 120000, ORPHANS_QUIT_MS = 1000, ORPHANS_KILL_MS = 3000 };

static void nap_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static int open_log(const struct postgres *postgres)
{
    struct stat facts;
    if (stat(postgres->log, &facts) == 0 && facts.st_size > LOG_BYTES_MAX)
        rename(postgres->log, arena_printf(postgres->arena, "%s.1", postgres->log).at);
    return open(postgres->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The major version that the cluster was made with; NULL when there is none. */
static const char *cluster_version(struct arena *arena, const char *cluster)
{
    char text[16];
    FILE *file = fopen(arena_printf(arena, "%s/PG_VERSION", cluster).at, "re");
    bool read = file && fgets(text, sizeof text, file);
    if (file)
        fclose(file);
    if (!read)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return arena_printf(arena, "%s", text).at;
}

static void remove_tree(struct arena *arena, const char *path, const struct folder *folder)
{
    const char *const arguments[] = {"/bin/rm", "-rf", path, NULL};
    spawn_run(&(struct spawn){arguments, folder->real, -1, -1, SIGKILL, false, -1});
}

/* In a folder beside, renamed when complete: an initdb that was interrupted leaves nothing that looks like a cluster. */
static void make_cluster(struct postgres *postgres)
{
    struct arena *arena = postgres->arena;
    const char *beside = arena_printf(arena, "%s.new", postgres->cluster).at;
    const char *const arguments[] = {
        arena_printf(arena, "%s/initdb", postgres->programs).at,
        "--pgdata",
        beside,
        "--username=myelin",
        "--locale=C",
        "--encoding=UTF8",
        "--auth-local=trust", /* the socket's folder is for our account alone; see up.c, database_logins */
        "--auth-host=reject",
        "--no-instructions",
        NULL};
    int64_t start_ms = clock_monotonic_ms();
    remove_tree(arena, beside, postgres->folder);
    int log = open_log(postgres);
    bool made = spawn_run(&(struct spawn){arguments, postgres->folder->real, -1, log, SIGKILL, false, -1});
    close(log);
    if (!made)
        die("initdb failed; %s says why", postgres->log);
    FILE *conf = fopen(arena_printf(arena, "%s/postgresql.conf", beside).at, "ae");
    bool written = conf && fputs("\ninclude 'myelin.conf'\n", conf) >= 0;
    if (!conf || fclose(conf) != 0 || !written || rename(beside, postgres->cluster) != 0)
        die("cannot finish the cluster in %s: %s", beside, strerror(errno));
    log_event(LOG_INFO, "made a PostgreSQL cluster", LOG_CSTR("folder", postgres->cluster),
              LOG_I64("ms", clock_monotonic_ms() - start_ms));
}

void postgres_prepare(struct arena *arena, struct postgres *out, const struct folder *folder, const struct settings *settings)
{
    *out = (struct postgres){.arena = arena, .folder = folder};
    out->cluster = arena_printf(arena, "%s/postgres", folder->path).at;
    out->log = arena_printf(arena, "%s/postgres.log", folder->path).at;
    const char *version = cluster_version(arena, out->cluster);
    out->programs = place_postgres(arena, version);
    if (!out->programs)
        die(version ? "the data folder needs PostgreSQL %s: apt-get install postgresql-%s"
                    : "PostgreSQL is missing: apt-get install postgresql%s%s",
            version ? version : "", version ? version : "");
    if (!version)
        make_cluster(out);
    if (!folder_write_file(arena, arena_printf(arena, "%s/myelin.conf", out->cluster).at, postgres_conf(arena, folder, settings),
                           0600))
        die("cannot write the configuration of PostgreSQL: %s", strerror(errno));
}

const char *postgres_url(const struct postgres *postgres, const char *database)
{
    return arena_printf(postgres->arena, "host=%s/run port=5432 user=myelin dbname=%s", postgres->folder->path, database).at;
}

static const char *pid_file(const struct postgres *postgres)
{
    return arena_printf(postgres->arena, "%s/postmaster.pid", postgres->cluster).at;
}

static void start(struct postgres *postgres)
{
    const char *const arguments[] = {arena_printf(postgres->arena, "%s/postgres", postgres->programs).at, "-D", postgres->cluster,
                                     NULL};
    static const char *const stale[] = {"postgres/postmaster.pid", "run/.s.PGSQL.5432", "run/.s.PGSQL.5432.lock"};
    for (size_t i = 0; i < sizeof stale / sizeof stale[0]; i++)
        unlink(arena_printf(postgres->arena, "%s/%s", postgres->folder->path, stale[i]).at);
    int log = open_log(postgres);
    pid_t pid = spawn_start(&(struct spawn){arguments, postgres->folder->real, -1, log, SIGINT, false, -1});
    close(log);
    if (pid < 0) {
        log_event(LOG_ERROR, "PostgreSQL cannot be started", LOG_CSTR("why", strerror(errno)));
        return;
    }
    postgres->pid = pid;
    postgres->started_ms = clock_monotonic_ms();
}

/* The eighth line of postmaster.pid says "ready" as soon as it takes connections. */
static bool is_ready(const struct postgres *postgres, const char *file)
{
    char line[PATH_MAX] = "";
    int count = 0;
    FILE *notes = fopen(file, "re");
    if (!notes)
        return false;
    while (count < 8 && fgets(line, sizeof line, notes))
        count++;
    fclose(notes);
    return count == 8 && strncmp(line, "ready", 5) == 0;
}

/* True when nobody works on the cluster's files any more; what is left of a killed one is asked to go, then made to. */
static bool orphans_are_gone(const struct postgres *postgres, int64_t waited_ms)
{
    int signal = waited_ms > ORPHANS_KILL_MS ? SIGKILL : waited_ms > ORPHANS_QUIT_MS ? SIGQUIT : 0;
    return postgres_orphans(postgres->cluster, signal) == 0;
}

void postgres_start_and_wait(struct postgres *postgres)
{
    const char *file = pid_file(postgres);
    int64_t begin_ms = clock_monotonic_ms();
    if (access(file, F_OK) == 0)
        while (!orphans_are_gone(postgres, clock_monotonic_ms() - begin_ms))
            nap_ms(20);
    start(postgres);
    while (!is_ready(postgres, file)) {
        int status;
        if (postgres->pid <= 0 || waitpid(postgres->pid, &status, WNOHANG) == postgres->pid)
            die("PostgreSQL does not start; %s says why", postgres->log);
        if (clock_monotonic_ms() - begin_ms > READY_TIMEOUT_MS)
            die("PostgreSQL is not ready after %d s; %s may say why", READY_TIMEOUT_MS / 1000, postgres->log);
        nap_ms(5);
    }
}

bool postgres_ended(struct postgres *postgres, pid_t pid, int status)
{
    if (pid != postgres->pid || pid == 0)
        return false;
    postgres->pid = 0;
    postgres->died_ms = clock_monotonic_ms();
    if (!postgres->stopping)
        log_event(LOG_ERROR, "PostgreSQL ended and is started again", LOG_I64("pid", pid),
                  LOG_I64("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
                  LOG_I64("code", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
    return true;
}

bool postgres_tick(struct postgres *postgres, int64_t now_ms)
{
    if (postgres->pid || postgres->stopping)
        return false;
    /* At once, unless it lived for less than a second: then something is wrong that time must heal (a full disk). */
    int64_t wait_ms = postgres->died_ms - postgres->started_ms < 1000 ? 1000 : 0;
    if (now_ms - postgres->died_ms < wait_ms || !orphans_are_gone(postgres, now_ms - postgres->died_ms - wait_ms))
        return true;
    postgres->restarts++;
    start(postgres);
    return postgres->pid == 0;
}

void postgres_stop(struct postgres *postgres, bool immediately)
{
    postgres->stopping = true;
    if (postgres->pid)
        kill(postgres->pid, immediately ? SIGQUIT : SIGINT);
}
