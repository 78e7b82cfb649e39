/* The database pool when things break: deadlines, killed backends, restarts, full pools, many threads, and the horizon of DESIGN §8
 * that the streams stand on. */
#include "lib/kit/db.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "tests/lib/pg.h"

static struct pg pg;

#define STATEMENT(statement_name, text, param_types, param_number, column_types, column_number) \
    static const struct db_statement statement_name = {.name = #statement_name, \
                                                       .sql = text, \
                                                       .params = param_types, \
                                                       .param_count = param_number, \
                                                       .columns = column_types, \
                                                       .column_count = column_number}

static const enum db_type one_bigint[] = {DB_BIGINT}, one_text[] = {DB_TEXT}, two_bigints[] = {DB_BIGINT, DB_BIGINT},
                          one_xid8[] = {DB_XID8};
STATEMENT(backend_pid, "SELECT pg_backend_pid()::bigint", NULL, 0, one_bigint, 1);
STATEMENT(sleep_seconds, "SELECT 1::bigint FROM pg_sleep($1)", one_bigint, 1, one_bigint, 1);
STATEMENT(current_role_name, "SELECT current_user::text", NULL, 0, one_text, 1);
STATEMENT(setting, "SELECT current_setting($1)", one_text, 1, one_text, 1);
STATEMENT(add_to, "UPDATE tally SET amount = amount + $2 WHERE id = $1", two_bigints, 2, NULL, 0);
STATEMENT(read_tally, "SELECT amount FROM tally WHERE id = $1", one_bigint, 1, one_bigint, 1);
STATEMENT(write_stream, "INSERT INTO stream (id) VALUES ($1) RETURNING pos", one_bigint, 1, one_xid8, 1);
STATEMENT(horizon, "SELECT pg_snapshot_xmin(pg_current_snapshot())", NULL, 0, one_xid8, 1);
STATEMENT(read_stream, "SELECT id FROM stream WHERE pos >= $1 AND pos < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY pos",
          one_xid8, 1, one_bigint, 1);

static int64_t in_ms(int64_t ms)
{
    return clock_monotonic_ms() + ms;
}

/* One statement, one column of one row. */
static enum fault ask(struct db_pool *pool, struct arena *arena, const struct db_statement *statement, union db_value param,
                      int64_t ms, union db_value *out)
{
    struct db_batch *batch = db_batch(pool, arena, in_ms(ms));
    struct db_result *result = db_add(batch, statement, &param);
    enum fault fault = db_run(batch);
    if (!fault && statement->column_count)
        assert_true(db_next(result, out));
    return fault;
}

static int64_t number(struct db_pool *pool, struct arena *arena, const struct db_statement *statement, int64_t param)
{
    union db_value value = {.number = -1};
    assert_int_equal(ask(pool, arena, statement, (union db_value){.number = param}, 10000, &value), FAULT_OK);
    return value.number;
}

static void the_deadline_cancels(void **state)
{
    struct db_pool *pool = db_pool_create(pg.url, "", 2);
    struct arena *arena = arena_create(1 << 20);
    union db_value value;
    int64_t start_ms = clock_monotonic_ms();
    assert_int_equal(ask(pool, arena, &sleep_seconds, (union db_value){.number = 60}, 100, &value), FAULT_DEADLINE);
    assert_true(clock_monotonic_ms() - start_ms >= 100);
    while (strcmp(pg_sql(&pg, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "0") != 0) {
        assert_true(clock_monotonic_ms() - start_ms < 40000); /* the server does not go on sleeping, which were a minute */
        usleep(5000);
    }
    assert_int_equal(ask(pool, arena, &backend_pid, (union db_value){0}, -1, &value), FAULT_DEADLINE);
    assert_true(number(pool, arena, &backend_pid, 0) > 0);
    arena_destroy(&arena);
    db_pool_destroy(&pool);
}

static void *kill_backend_in_use(void *context)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %ld AND wait_event = 'PgSleep'",
             (long)*(int64_t *)context);
    while (strcmp(pg_sql(&pg, sql), "t") != 0)
        ;
    return NULL;
}

static void a_backend_killed_in_use(void **state)
{
    struct db_pool *pool = db_pool_create(pg.url, "", 2);
    struct arena *arena = arena_create(1 << 20);
    union db_value value;
    pthread_t killer;
    int64_t pid = number(pool, arena, &backend_pid, 0);
    pthread_create(&killer, NULL, kill_backend_in_use, &pid);
    assert_int_equal(ask(pool, arena, &sleep_seconds, (union db_value){.number = 60}, 20000, &value), FAULT_UNAVAILABLE);
    pthread_join(killer, NULL);
    assert_int_not_equal(number(pool, arena, &backend_pid, 0), pid);

    struct db_batch *transaction = db_transaction(pool, arena, in_ms(10000));
    struct db_result *result = db_add(transaction, &backend_pid, NULL);
    assert_int_equal(db_step(transaction), FAULT_OK);
    assert_true(db_next(result, &value));
    char sql[64];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%ld, 5000)", (long)value.number);
    pg_sql(&pg, sql);
    db_add(transaction, &backend_pid, NULL);
    assert_int_equal(db_commit(transaction), FAULT_UNAVAILABLE); /* a transaction is never repeated behind the caller's back */
    arena_destroy(&arena);
    db_pool_destroy(&pool);
}

static void a_backend_killed_in_the_pool_is_not_noticed(void **state)
{
    struct db_pool *pool = db_pool_create(pg.url, "", 2);
    struct arena *arena = arena_create(1 << 20);
    for (int round = 0; round < 5; round++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%ld, 5000)", (long)number(pool, arena, &backend_pid, 0));
        pg_sql(&pg, sql);
    }
    struct db_pool_stats stats;
    db_pool_stats(pool, &stats);
    assert_int_equal(stats.failures, 0);
    assert_int_equal(stats.open, 1);
    arena_destroy(&arena);
    db_pool_destroy(&pool);
}

static void postgresql_restarts(void **state)
{
    struct db_pool *pool = db_pool_create(pg.url, "", 2);
    struct arena *arena = arena_create(1 << 20);
    union db_value value;
    number(pool, arena, &backend_pid, 0);
    pg_command(&pg, "restart");
    number(pool, arena, &backend_pid, 0);
    pg_command(&pg, "stop");
    assert_int_equal(ask(pool, arena, &backend_pid, (union db_value){0}, 10000, &value), FAULT_UNAVAILABLE);
    struct db_batch *transaction = db_transaction(pool, arena, in_ms(10000));
    db_add(transaction, &backend_pid, NULL);
    assert_int_equal(db_step(transaction), FAULT_UNAVAILABLE);
    assert_int_equal(db_commit(transaction), FAULT_UNAVAILABLE);
    pg_command(&pg, "start");
    number(pool, arena, &backend_pid, 0);
    arena_destroy(&arena);
    db_pool_destroy(&pool);
}

static void no_such_role_or_place(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    union db_value value;
    struct db_pool *pool = db_pool_create(pg.url, "nobody_at_all", 2);
    assert_int_equal(ask(pool, arena, &backend_pid, (union db_value){0}, 10000, &value), FAULT_UNAVAILABLE);
    db_pool_destroy(&pool);
    pool = db_pool_create("host=/nonexistent dbname=x", "", 2);
    assert_int_equal(ask(pool, arena, &backend_pid, (union db_value){0}, 10000, &value), FAULT_UNAVAILABLE);
    db_pool_destroy(&pool);
    arena_destroy(&arena);
}

static void the_session_is_set_up(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    union db_value value;
    char url[512];
    pg_sql(&pg, "DROP ROLE IF EXISTS myelin_test; CREATE ROLE myelin_test");
    snprintf(url, sizeof url, "%s&options=-c%%20search_path%%3Delsewhere", pg.url);
    struct db_pool *pool = db_pool_create(url, "myelin_test", 2);
    assert_int_equal(ask(pool, arena, &current_role_name, (union db_value){0}, 10000, &value), FAULT_OK);
    assert_true(slice_eq(value.bytes, SLICE("myelin_test")));
    assert_int_equal(ask(pool, arena, &setting, (union db_value){.bytes = SLICE("search_path")}, 10000, &value), FAULT_OK);
    assert_true(slice_eq(value.bytes, SLICE("elsewhere")));
    assert_int_equal(ask(pool, arena, &setting, (union db_value){.bytes = SLICE("lock_timeout")}, 10000, &value), FAULT_OK);
    assert_true(slice_eq(value.bytes, SLICE("2s")));
    assert_int_equal(ask(pool, arena, &setting, (union db_value){.bytes = SLICE("application_name")}, 10000, &value), FAULT_OK);
    assert_true(slice_starts_with(value.bytes, SLICE("test_db_failures")));
    db_pool_destroy(&pool);
    arena_destroy(&arena);
}

static void a_full_pool_waits(void **state)
{
    struct db_pool *pool = db_pool_create(pg.url, "", 1);
    struct arena *arena = arena_create(1 << 20), *other = arena_create(1 << 20);
    union db_value value;
    struct db_batch *holder = db_transaction(pool, arena, in_ms(10000));
    db_add(holder, &backend_pid, NULL);
    assert_int_equal(db_step(holder), FAULT_OK);
    int64_t start_ms = clock_monotonic_ms();
    assert_int_equal(ask(pool, other, &backend_pid, (union db_value){0}, 50, &value), FAULT_DEADLINE);
    assert_true(clock_monotonic_ms() - start_ms >= 50);
    assert_int_equal(db_commit(holder), FAULT_OK);
    assert_int_equal(ask(pool, other, &backend_pid, (union db_value){0}, 10000, &value), FAULT_OK);
    arena_destroy(&other);
    arena_destroy(&arena);
    db_pool_destroy(&pool);
}

struct crowd {
    struct db_pool *pool;
    atomic_int conflicts;
};
enum { CROWD = 16, ADDITIONS = 50, PLACES = 3 };

static void *add_in_a_crowd(void *context)
{
    struct crowd *crowd = context;
    struct arena *arena = arena_create(1 << 20);
    for (int i = 0; i < ADDITIONS; i++) {
        bool is_transaction = i % 2;
        struct db_batch *batch =
            is_transaction ? db_transaction(crowd->pool, arena, in_ms(60000)) : db_batch(crowd->pool, arena, in_ms(60000));
        db_add(batch, &add_to, (const union db_value[]){{.number = 1}, {.number = 1}});
        enum fault fault = is_transaction ? db_step(batch) : db_run(batch);
        if (!fault && is_transaction)
            fault = db_commit(batch);
        assert_true(fault == FAULT_OK || fault == FAULT_CONFLICT);
        crowd->conflicts += fault == FAULT_CONFLICT;
        arena_reset(arena);
    }
    arena_destroy(&arena);
    return NULL;
}

static void many_threads_share_it(void **state)
{
    struct crowd crowd = {.pool = db_pool_create(pg.url, "", PLACES)};
    pthread_t threads[CROWD];
    pg_sql(
        &pg,
        "DROP TABLE IF EXISTS tally; CREATE TABLE tally (id bigint PRIMARY KEY, amount bigint); INSERT INTO tally VALUES (1, 0)");
    for (int i = 0; i < CROWD; i++)
        pthread_create(&threads[i], NULL, add_in_a_crowd, &crowd);
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    struct arena *arena = arena_create(1 << 20);
    assert_int_equal(number(crowd.pool, arena, &read_tally, 1), CROWD * ADDITIONS - crowd.conflicts);
    struct db_pool_stats stats;
    db_pool_stats(crowd.pool, &stats);
    assert_int_equal(stats.busy, 0);
    assert_int_equal(stats.waiting, 0);
    assert_in_range(stats.open, 1, PLACES);
    arena_destroy(&arena);
    db_pool_destroy(&crowd.pool);
}

struct reader {
    struct db_pool *pool;
    enum fault fault;
};

/* For longer than a write may take; it writes only at its end. */
static void *read_slowly(void *context)
{
    struct reader *reader = context;
    struct arena *arena = arena_create(1 << 20);
    struct db_batch *transaction = db_transaction(reader->pool, arena, in_ms(60000));
    db_add(transaction, &sleep_seconds, &(union db_value){.number = 6});
    reader->fault = db_step(transaction);
    if (!reader->fault) {
        db_add(transaction, &write_stream, &(union db_value){.number = -2});
        reader->fault = db_commit(transaction);
    }
    arena_destroy(&arena);
    return NULL;
}

/* A minute to go, and yet: a transaction that writes ends after five seconds, and lets go of the horizon. One that reads may go on,
 * here beside it. */
static void a_write_has_its_own_limit(void **state)
{
    static const struct db_statement write_slowly = {
        .name = "write_slowly",
        .sql = "WITH w AS (INSERT INTO stream (id) VALUES ($1) RETURNING 1) SELECT 1::bigint FROM w, pg_sleep(120)",
        .params = one_bigint,
        .param_count = 1,
        .columns = one_bigint,
        .column_count = 1,
        .writes = true};
    struct arena *arena = arena_create(1 << 20);
    struct db_pool *pool = db_pool_create(pg.url, "", 2);
    union db_value value;
    struct reader reader = {.pool = pool};
    pthread_t thread;
    pg_sql(&pg, "CREATE TABLE IF NOT EXISTS stream (id bigint, pos xid8 NOT NULL DEFAULT pg_current_xact_id())");
    int64_t start_ms = clock_monotonic_ms();
    pthread_create(&thread, NULL, read_slowly, &reader);
    assert_int_equal(ask(pool, arena, &write_slowly, (union db_value){.number = -1}, 60000, &value), FAULT_DEADLINE);
    assert_true(clock_monotonic_ms() < start_ms + 50000);
    while (*pg_sql(&pg, "SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL"))
        usleep(10000); /* cancelled, not left behind */
    pthread_join(thread, NULL);
    assert_int_equal(reader.fault, FAULT_OK);
    db_pool_destroy(&pool);
    arena_destroy(&arena);
}

static void a_bulk_write_says_so(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    struct db_pool *pool = db_pool_create(pg.url, "", 1);
    union db_value value, name = {.bytes = SLICE("application_name")};
    struct db_batch *batch = db_batch(pool, arena, in_ms(10000));
    db_bulk(batch);
    struct db_result *result = db_add(batch, &setting, &name);
    assert_int_equal(db_run(batch), FAULT_OK);
    assert_true(db_next(result, &value));
    assert_true(slice_eq(value.bytes, SLICE("test_db_failures bulk")));
    assert_int_equal(ask(pool, arena, &setting, name, 10000, &value), FAULT_OK);
    assert_true(slice_eq(value.bytes, SLICE("test_db_failures"))); /* with the transaction it was over */
    db_pool_destroy(&pool);
    arena_destroy(&arena);
}

/* A listener reads up to the horizon: what a slow writer took a place for and has not committed must stay above it, so that
 * nobody passes it by. */
static void a_slow_writer_holds_the_horizon(void **state)
{
    struct db_pool *pool = db_pool_create(pg.url, "", 4);
    struct arena *arena = arena_create(1 << 20);
    union db_value value;
    pg_sql(&pg, "DROP TABLE IF EXISTS stream; CREATE TABLE stream (id bigint, pos xid8 NOT NULL DEFAULT pg_current_xact_id());"
                "CREATE INDEX ON stream (pos)");
    int64_t start = number(pool, arena, &horizon, 0);

    struct db_batch *slow = db_transaction(pool, arena, in_ms(10000));
    struct db_result *written = db_add(slow, &write_stream, (const union db_value[]){{.number = 1}});
    assert_int_equal(db_step(slow), FAULT_OK);
    assert_true(db_next(written, &value));
    int64_t slow_pos = value.number, quick_pos = number(pool, arena, &write_stream, 2); /* quick: commits at once */
    assert_true(slow_pos >= start && quick_pos > slow_pos);
    assert_int_equal(number(pool, arena, &horizon, 0), slow_pos);
    struct db_batch *listener = db_batch(pool, arena, in_ms(10000));
    struct db_result *seen = db_add(listener, &read_stream, (const union db_value[]){{.number = start}});
    assert_int_equal(db_run(listener), FAULT_OK);
    assert_false(db_next(seen, &value)); /* not even the committed one: its place is behind the open one's */

    assert_int_equal(db_commit(slow), FAULT_OK);
    assert_true(number(pool, arena, &horizon, 0) > quick_pos);
    seen = db_add(listener, &read_stream, (const union db_value[]){{.number = start}});
    assert_int_equal(db_run(listener), FAULT_OK);
    for (int64_t id = 1; id <= 2; id++) {
        assert_true(db_next(seen, &value));
        assert_int_equal(value.number, id);
    }
    arena_destroy(&arena);
    db_pool_destroy(&pool);
}

/* ---- PostgreSQL is there and does nothing */

struct sleeper {
    struct db_pool *pool;
    int64_t late_ms;
    enum fault fault;
};
enum { SLEEPERS = 4, ROUNDS = 3, FROZEN_DEADLINE_MS = 300 };

/* Several calls one after another, as a handler thread makes them. */
static void *call_while_frozen(void *context)
{
    struct sleeper *sleeper = context;
    for (int i = 0; i < ROUNDS; i++) {
        struct arena *arena = arena_create(1 << 20);
        union db_value value;
        int64_t begun_ms = clock_monotonic_ms();
        enum fault fault = ask(sleeper->pool, arena, &backend_pid, (union db_value){0}, FROZEN_DEADLINE_MS, &value);
        arena_destroy(&arena); /* gives the connection back */
        int64_t late_ms = clock_monotonic_ms() - begun_ms - FROZEN_DEADLINE_MS;
        if (late_ms > sleeper->late_ms)
            sleeper->late_ms = late_ms;
        sleeper->fault = i == 0 ? fault : sleeper->fault;
    }
    return NULL;
}

static void a_frozen_server_holds_nobody_beyond_the_deadline(void **state)
{
    struct db_pool *pool = db_pool_create(pg.url, "", SLEEPERS);
    struct sleeper sleepers[SLEEPERS];
    pthread_t threads[SLEEPERS];
    struct arena *arena = arena_create(1 << 20);
    struct db_batch *holders[SLEEPERS];
    for (int i = 0; i < SLEEPERS; i++) { /* a connection for each */
        holders[i] = db_transaction(pool, arena, in_ms(10000));
        db_add(holders[i], &backend_pid, NULL);
        assert_int_equal(db_step(holders[i]), FAULT_OK);
    }
    for (int i = 0; i < SLEEPERS; i++)
        assert_int_equal(db_commit(holders[i]), FAULT_OK);
    pid_t postmaster = pg_freeze(&pg);
    for (int i = 0; i < SLEEPERS; i++) {
        sleepers[i] = (struct sleeper){.pool = pool};
        pthread_create(&threads[i], NULL, call_while_frozen, &sleepers[i]);
    }
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(threads[i], NULL);
    pg_thaw(postmaster);
    for (int i = 0; i < SLEEPERS; i++) {
        assert_int_equal(sleepers[i].fault, FAULT_DEADLINE);
        assert_true(sleepers[i].late_ms < 4000); /* a connection attempt of its own would be five seconds */
    }
    assert_true(number(pool, arena, &backend_pid, 0) > 0);
    arena_destroy(&arena);
    db_pool_destroy(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_deadline_cancels),
        cmocka_unit_test(a_backend_killed_in_use),
        cmocka_unit_test(a_backend_killed_in_the_pool_is_not_noticed),
        cmocka_unit_test(postgresql_restarts),
        cmocka_unit_test(no_such_role_or_place),
        cmocka_unit_test(the_session_is_set_up),
        cmocka_unit_test(a_full_pool_waits),
        cmocka_unit_test(many_threads_share_it),
        cmocka_unit_test(a_write_has_its_own_limit),
        cmocka_unit_test(a_bulk_write_says_so),
        cmocka_unit_test(a_slow_writer_holds_the_horizon),
        cmocka_unit_test(a_frozen_server_holds_nobody_beyond_the_deadline),
    };
    pg = pg_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_stop(&pg);
    return failed;
}
