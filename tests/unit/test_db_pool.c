/* The pool's housekeeping, with a clock of its own: when idle connections are closed, and what is done
 * about one that broke unseen. */
#include "lib/kit/db.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "tests/lib/pg.h"

static struct pg pg;
static int64_t clock_ahead_ms;

/* In place of lib/base/clock.c. */
int64_t clock_monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + clock_ahead_ms * 1000;
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return (int64_t)time(NULL) * 1000;
}

static const enum db_type one_bigint[] = {DB_BIGINT};
static const struct db_statement one = {.name = "one", .sql = "SELECT 1::bigint", .columns = one_bigint, .column_count = 1};
static const struct db_statement backend_pid = {
    .name = "backend_pid", .sql = "SELECT pg_backend_pid()::bigint", .columns = one_bigint, .column_count = 1};
static const struct db_statement write_one = {.name = "write", .sql = "INSERT INTO written VALUES (1)", .writes = true};

static void use_at_once(struct db_pool *pool, int connections)
{
    struct arena *arena = arena_create(1 << 20);
    struct db_batch *transactions[8];
    for (int i = 0; i < connections; i++) {
        transactions[i] = db_transaction(pool, arena, clock_monotonic_ms() + 10000);
        db_add(transactions[i], &one, NULL);
        assert_int_equal(db_step(transactions[i]), FAULT_OK);
    }
    for (int i = 0; i < connections; i++)
        assert_int_equal(db_commit(transactions[i]), FAULT_OK);
    arena_destroy(&arena);
}

static int open_now(struct db_pool *pool)
{
    struct db_pool_stats stats;
    db_pool_tidy(pool);
    db_pool_stats(pool, &stats);
    return stats.open;
}

static void idle_connections_are_closed(void **state)
{
    struct db_pool *pool = db_pool_create(pg.url, "", 8);
    assert_int_equal(open_now(pool), 0); /* lazily */
    use_at_once(pool, 5);
    assert_int_equal(open_now(pool), 5);
    clock_ahead_ms += 20000;
    use_at_once(pool, 2); /* these stay young */
    assert_int_equal(open_now(pool), 5);
    clock_ahead_ms += 20000;
    assert_int_equal(open_now(pool), 2);
    clock_ahead_ms += 20000;
    assert_int_equal(open_now(pool), 1);
    clock_ahead_ms += 25000;
    assert_int_equal(open_now(pool), 0);
    use_at_once(pool, 1);
    assert_int_equal(open_now(pool), 1);
    db_pool_destroy(&pool);
    assert_null(pool);
}

struct stopped {
    struct db_pool *pool;
    pid_t backend, user;
};

static bool sleeps(pid_t thread)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
    fclose(file);
    return state == 'S';
}

/* Once the connection was taken, looked at and written to: then its user sleeps until the server says something. */
static void *wake_backend(void *context)
{
    const struct stopped *stopped = context;
    struct db_pool_stats stats;
    do {
        usleep(5000);
        db_pool_stats(stopped->pool, &stats);
    } while (stats.busy == 0);
    for (int seen = 0; seen < 3; seen = sleeps(stopped->user) ? seen + 1 : 0) /* for more than a moment, as a lock may be */
        usleep(5000);
    kill(stopped->backend, SIGCONT);
    return NULL;
}

static int socket_to_postgresql(void)
{
    for (int fd = 3; fd < 100; fd++) {
        struct sockaddr_un peer;
        socklen_t size = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sun_family == AF_UNIX &&
            strstr(peer.sun_path, ".s.PGSQL"))
            return fd;
    }
    return -1;
}

/* A connection breaks between the look at it and its use: made to happen by shutting it down under a backend that cannot react. */
static enum fault use_broken(bool is_transaction, bool commits)
{
    struct db_pool *pool = db_pool_create(pg.url, "", 1);
    struct arena *arena = arena_create(1 << 20);
    union db_value value;
    struct db_batch *batch = db_batch(pool, arena, clock_monotonic_ms() + 10000);
    struct db_result *result = db_add(batch, &backend_pid, NULL);
    assert_int_equal(db_run(batch), FAULT_OK);
    assert_true(db_next(result, &value));
    pthread_t waker;
    struct stopped stopped = {pool, (pid_t)value.number, gettid()};
    kill(stopped.backend, SIGSTOP);
    shutdown(socket_to_postgresql(), SHUT_WR);
    pthread_create(&waker, NULL, wake_backend, &stopped);

    batch = is_transaction ? db_transaction(pool, arena, clock_monotonic_ms() + 10000)
                           : db_batch(pool, arena, clock_monotonic_ms() + 10000);
    db_add(batch, is_transaction || commits ? &write_one : &one, NULL);
    enum fault fault = !is_transaction ? db_run(batch) : commits ? db_commit(batch) : db_step(batch);
    if (is_transaction && !commits)
        assert_int_equal(db_commit(batch), FAULT_OK);
    pthread_join(waker, NULL);
    arena_destroy(&arena);
    db_pool_destroy(&pool);
    return fault;
}

static void what_commits_nothing_is_repeated(void **state)
{
    pg_sql(&pg, "CREATE TABLE written (id bigint)");
    assert_int_equal(use_broken(false, false), FAULT_OK);
    assert_int_equal(use_broken(true, false), FAULT_OK);
    assert_string_equal(pg_sql(&pg, "SELECT count(*) FROM written"), "1");
    assert_int_equal(use_broken(false, true), FAULT_UNAVAILABLE); /* perhaps it was committed: the caller must look */
    assert_int_equal(use_broken(true, true), FAULT_UNAVAILABLE);
}

/* The table of prepared statements grows; each stays known. */
static void many_statements_on_one_connection(void **state)
{
    enum { STATEMENTS = 200 };
    static struct db_statement statements[STATEMENTS];
    static char names[STATEMENTS][32];
    struct db_pool *pool = db_pool_create(pg.url, "", 1);
    struct arena *arena = arena_create(1 << 20);
    for (int round = 0; round < 2; round++) {
        struct db_batch *batch = db_batch(pool, arena, clock_monotonic_ms() + 10000);
        for (int i = 0; i < STATEMENTS; i++) {
            snprintf(names[i], sizeof names[i], "statement_%d", i);
            statements[i] = one;
            statements[i].name = names[i];
            db_add(batch, &statements[i], NULL);
            db_add(batch, &statements[i], NULL);
        }
        assert_int_equal(db_run(batch), FAULT_OK);
    }
    arena_destroy(&arena);
    db_pool_destroy(&pool);
}

static void registered_statements_are_listed(void **state)
{
    size_t before, after;
    const struct db_statement *const mine[] = {&one};
    db_statements(&before);
    db_register_statements(mine, 1);
    assert_ptr_equal(db_statements(&after)[before], &one);
    assert_int_equal(after, before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connections_are_closed),
        cmocka_unit_test(what_commits_nothing_is_repeated),
        cmocka_unit_test(many_statements_on_one_connection),
        cmocka_unit_test(registered_statements_are_listed),
    };
    pg = pg_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_stop(&pg);
    return failed;
}
