/* The pool's housekeeping, with a clock of its own: when idle connections are closed, and how a connection that died tells. */
#include "lib/kit/db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/kit/db_trip.h"
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

/* What db_batch.c needs to know before it makes a trip a second time: nothing of the first one reached the server. */
static void a_dead_connection_fails_at_send(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    struct db_connection *connection;
    assert_int_equal(db_connection_open(pg.url, "", clock_monotonic_ms() + 10000, &connection), FAULT_OK);
    assert_true(db_connection_is_quiet(connection));
    shutdown(PQsocket(connection->pg), SHUT_RDWR);
    assert_false(db_connection_is_quiet(connection));
    struct db_trip trip = {.arena = arena, .deadline_ms = clock_monotonic_ms() + 10000, .before = "BEGIN"};
    assert_int_equal(db_trip_make(&trip, connection), FAULT_UNAVAILABLE);
    assert_false(trip.is_sent);
    assert_false(trip.is_clean);
    db_connection_close(&connection);
    assert_null(connection);
    db_connection_close(&connection);
    arena_destroy(&arena);
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
        cmocka_unit_test(a_dead_connection_fails_at_send),
        cmocka_unit_test(many_statements_on_one_connection),
        cmocka_unit_test(registered_statements_are_listed),
    };
    pg = pg_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_stop(&pg);
    return failed;
}
