/* A throw-away PostgreSQL for a test program: tests/lib/throwaway_postgres runs beside it and goes when it goes, however it ends.
 *     struct pg pg = pg_start();  … db_pool_create(pg.url, "", 4) …  pg_stop(&pg);
 * In the header whole, so that a test needs nothing but this line. It tells of failures by ending the test program. */
#ifndef MYELIN_TESTS_PG_H
#define MYELIN_TESTS_PG_H

#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct pg {
    char url[256];
    pid_t helper;
    FILE *commands, *answers;
};

static inline void pg_must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "tests/lib/pg.h: %s\n", what);
        exit(1);
    }
}

static inline struct pg pg_start(void)
{
    struct pg pg;
    int to[2], from[2];
    signal(SIGPIPE, SIG_IGN);
    pg_must(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0, "pipe");
    pg.helper = fork();
    pg_must(pg.helper >= 0, "fork");
    if (pg.helper == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        execl(MYELIN_SOURCE_DIR "/tests/lib/throwaway_postgres", "throwaway_postgres", (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    pg.commands = fdopen(to[1], "w");
    pg.answers = fdopen(from[0], "r");
    pg_must(fgets(pg.url, sizeof pg.url, pg.answers) != NULL, "no cluster");
    pg.url[strcspn(pg.url, "\n")] = '\0';
    return pg;
}

static inline void pg_command(struct pg *pg, const char *command) /* restart, stop, start */
{
    char answer[16];
    fprintf(pg->commands, "%s\n", command);
    fflush(pg->commands);
    pg_must(fgets(answer, sizeof answer, pg->answers) != NULL, "cluster gone");
}

static inline void pg_stop(struct pg *pg)
{
    int status;
    fclose(pg->commands);
    waitpid(pg->helper, &status, 0);
    fclose(pg->answers);
}

/* Runs plain SQL on a connection of its own; the first value of the answer, "" if none. Valid until the next call. */
static inline const char *pg_sql(const struct pg *pg, const char *sql)
{
    static char value[1024];
    PGconn *connection = PQconnectdb(pg->url);
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s%s\n", PQerrorMessage(connection), sql);
        exit(1);
    }
    snprintf(value, sizeof value, "%s", PQntuples(result) && PQnfields(result) ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(connection);
    return value;
}

static inline void pg_signal(pid_t postmaster, int signal_)
{
    char path[64], children[4096] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)postmaster, (int)postmaster);
    if (signal_ == SIGSTOP)
        pg_must(kill(postmaster, signal_) == 0, "no postmaster"); /* no new children from here on */
    FILE *file = fopen(path, "r");
    pg_must(file != NULL, path);
    size_t len = fread(children, 1, sizeof children - 1, file);
    fclose(file);
    children[len] = '\0';
    for (char *at = children, *end; strtol(at, &end, 10) > 0; at = end)
        kill((pid_t)strtol(at, NULL, 10), signal_);
    if (signal_ == SIGCONT)
        pg_must(kill(postmaster, signal_) == 0, "no postmaster");
}

/* The whole cluster is there and does nothing, until pg_thaw(what pg_freeze gave). */
static inline pid_t pg_freeze(const struct pg *pg)
{
    char path[1100], line[64] = "";
    snprintf(path, sizeof path, "%s/postmaster.pid", pg_sql(pg, "SHOW data_directory"));
    FILE *file = fopen(path, "r");
    pg_must(file && fgets(line, sizeof line, file), path);
    fclose(file);
    pid_t postmaster = (pid_t)strtol(line, NULL, 10);
    pg_signal(postmaster, SIGSTOP);
    return postmaster;
}

static inline void pg_thaw(pid_t postmaster)
{
    pg_signal(postmaster, SIGCONT);
}

#endif
