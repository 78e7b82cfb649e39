/* Batches and transactions against a real PostgreSQL: order, values both ways, conflicts, roll-backs. What happens when connections
 * break is test_db_failures.c. */
#include "lib/kit/db.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "tests/lib/pg.h"

static struct pg pg;
static struct db_pool *pool;
static struct arena *arena;

#define STATEMENT(statement_name, text, param_types, param_number, column_types, column_number) \
    static const struct db_statement statement_name = {.name = #statement_name, \
                                                       .sql = text, \
                                                       .params = param_types, \
                                                       .param_count = param_number, \
                                                       .columns = column_types, \
                                                       .column_count = column_number}

static const enum db_type one_bigint[] = {DB_BIGINT}, one_text[] = {DB_TEXT}, bigint_text[] = {DB_BIGINT, DB_TEXT};
static const enum db_type every[] = {DB_BIGINT, DB_INTEGER, DB_TEXT,  DB_BYTEA, DB_BOOLEAN,
                                     DB_XID8,   DB_BIGINTS, DB_TEXTS, DB_BYTEAS};
enum { EVERY = sizeof every / sizeof every[0] };

STATEMENT(insert_item, "INSERT INTO item VALUES ($1, $2)", bigint_text, 2, NULL, 0);
STATEMENT(count_items, "SELECT count(*) FROM item", NULL, 0, one_bigint, 1);
STATEMENT(list_items, "SELECT id, name FROM item ORDER BY id", NULL, 0, bigint_text, 2);
STATEMENT(rename_items, "UPDATE item SET name = $2 WHERE id >= $1", bigint_text, 2, NULL, 0);
STATEMENT(same_again,
          "SELECT $1::bigint, $2::integer, $3::text, $4::bytea, $5::boolean, $6::xid8, $7::bigint[], $8::text[], $9::bytea[]",
          every, EVERY, every, EVERY);
STATEMENT(numbers_to, "SELECT g::bigint FROM generate_series(1, $1) g", one_bigint, 1, one_bigint, 1);
STATEMENT(insert_child, "INSERT INTO child VALUES ($1)", one_bigint, 1, NULL, 0);
STATEMENT(insert_late, "INSERT INTO late VALUES ($1)", one_bigint, 1, NULL, 0);
STATEMENT(echo_text, "SELECT $1::text", one_text, 1, one_text, 1);
STATEMENT(call_function, "SELECT pg_notify('topic', 'text')", NULL, 0, NULL, 0);

static const enum db_type two_xids[] = {DB_XID8, DB_XID8};
STATEMENT(insert_and_place,
          "INSERT INTO item VALUES ($1, $2) RETURNING pg_current_xact_id(), pg_snapshot_xmin(pg_current_snapshot())", bigint_text,
          2, two_xids, 2);
STATEMENT(read_horizon, "SELECT pg_snapshot_xmin(pg_current_snapshot()), pg_snapshot_xmax(pg_current_snapshot())", NULL, 0,
          two_xids, 2);

static int64_t soon(void)
{
    return clock_monotonic_ms() + 10000;
}

static struct db_batch *batch_new(void)
{
    return db_batch(pool, arena, soon());
}

static struct db_batch *transaction_new(void)
{
    return db_transaction(pool, arena, soon());
}

static struct db_result *add_item(struct db_batch *batch, int64_t id, const char *name)
{
    return db_add(batch, &insert_item, (const union db_value[]){{.number = id}, {.bytes = slice_from_cstr(name)}});
}

static int64_t item_count(void)
{
    struct db_batch *batch = batch_new();
    struct db_result *result = db_add(batch, &count_items, NULL);
    union db_value column;
    assert_int_equal(db_run(batch), FAULT_OK);
    assert_true(db_next(result, &column));
    return column.number;
}

static int setup(void **state)
{
    arena = arena_create(64 << 20);
    pg_sql(&pg, "DROP TABLE IF EXISTS child, item, late; CREATE TABLE item (id bigint PRIMARY KEY, name text);"
                "CREATE TABLE child (id bigint REFERENCES item);"
                "CREATE TABLE late (id bigint CONSTRAINT late_once UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    return 0;
}

static int teardown(void **state)
{
    struct db_pool_stats stats;
    arena_destroy(&arena);
    db_pool_stats(pool, &stats);
    assert_int_equal(stats.busy, 0); /* nothing leaks, however a test ended */
    return 0;
}

static void statements_run_in_order(void **state)
{
    struct db_batch *batch = batch_new();
    struct db_result *insert = add_item(batch, 1, "one");
    struct db_result *before = db_add(batch, &count_items, NULL);
    add_item(batch, 2, NULL);
    struct db_result *rename = db_add(batch, &rename_items, (const union db_value[]){{.number = 1}, {.bytes = SLICE("new")}});
    struct db_result *after = db_add(batch, &list_items, NULL);
    assert_int_equal(db_run(batch), FAULT_OK);

    union db_value columns[2];
    assert_int_equal(db_affected(insert), 1);
    assert_true(db_next(before, columns));
    assert_int_equal(columns[0].number, 1);
    assert_int_equal(db_affected(rename), 2);
    assert_int_equal(db_affected(after), 2);
    for (int64_t id = 1; id <= 2; id++) {
        assert_true(db_next(after, columns));
        assert_int_equal(columns[0].number, id);
        assert_true(slice_eq(columns[1].bytes, SLICE("new")));
    }
    assert_false(db_next(after, columns));
    assert_false(db_next(after, columns));
}

static void an_empty_batch_costs_nothing(void **state)
{
    struct db_pool_stats before, after;
    db_pool_stats(pool, &before);
    assert_int_equal(db_run(batch_new()), FAULT_OK);
    assert_int_equal(db_commit(transaction_new()), FAULT_OK);
    db_pool_stats(pool, &after);
    assert_int_equal(before.batches, after.batches);
}

static void a_batch_can_go_on(void **state)
{
    struct db_batch *batch = batch_new();
    add_item(batch, 1, "one");
    assert_int_equal(db_run(batch), FAULT_OK);
    add_item(batch, 2, "two");
    assert_int_equal(db_run(batch), FAULT_OK);
    assert_int_equal(item_count(), 2);
}

static void same_values_come_back(void **state)
{
    const int64_t numbers[] = {0, -1, INT64_MAX, DB_NULL_I64, 7};
    const struct slice texts[] = {SLICE("ä"), SLICE(""), SLICE_ABSENT, SLICE("a\"b\\,{}")};
    const struct slice bytes[] = {SLICE("\0\1\377"), SLICE_ABSENT};
    const union db_value values[EVERY] = {{.number = INT64_MIN + 1},     {.number = -5},        {.bytes = SLICE("text")},
                                          {.bytes = SLICE("\0bytes\0")}, {.number = 1},         {.number = 1234567890123},
                                          {.numbers = {numbers, 5}},     {.texts = {texts, 4}}, {.texts = {bytes, 2}}};
    struct db_batch *batch = batch_new();
    struct db_result *result = db_add(batch, &same_again, values);
    union db_value got[EVERY];
    assert_int_equal(db_run(batch), FAULT_OK);
    assert_true(db_next(result, got));
    assert_int_equal(got[0].number, INT64_MIN + 1);
    assert_int_equal(got[1].number, -5);
    assert_true(slice_eq(got[2].bytes, SLICE("text")));
    assert_true(slice_eq(got[3].bytes, SLICE("\0bytes\0")));
    assert_int_equal(got[4].number, 1);
    assert_int_equal(got[5].number, 1234567890123);
    assert_int_equal(got[6].numbers.len, 5);
    assert_memory_equal(got[6].numbers.at, numbers, sizeof numbers);
    assert_int_equal(got[7].texts.len, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(slice_eq(got[7].texts.at[i], texts[i]));
        assert_int_equal(slice_is_absent(got[7].texts.at[i]), slice_is_absent(texts[i]));
    }
    assert_int_equal(got[8].texts.len, 2);
    assert_true(slice_eq(got[8].texts.at[0], bytes[0]));
    assert_true(slice_is_absent(got[8].texts.at[1]));
}

static void nulls_and_empty_ones_differ(void **state)
{
    const int64_t no_numbers[1] = {0};
    const struct slice no_texts[1] = {{NULL, 0}};
    const union db_value nulls[EVERY] = {{.number = DB_NULL_I64}, {.number = DB_NULL_I64}, {.bytes = {NULL, 0}},
                                         {.bytes = {NULL, 0}},    {.number = DB_NULL_I64}, {.number = DB_NULL_I64},
                                         {.numbers = {NULL, 0}},  {.texts = {NULL, 0}},    {.texts = {NULL, 0}}};
    const union db_value empty[EVERY] = {
        {.number = 0},           {.number = 0}, {.bytes = SLICE("")},         {.bytes = SLICE("")},
        {.number = 0},           {.number = 0}, {.numbers = {no_numbers, 0}}, {.texts = {no_texts, 0}},
        {.texts = {no_texts, 0}}};
    struct db_batch *batch = batch_new();
    struct db_result *of_nulls = db_add(batch, &same_again, nulls), *of_empty = db_add(batch, &same_again, empty);
    union db_value got[EVERY];
    assert_int_equal(db_run(batch), FAULT_OK);
    assert_true(db_next(of_nulls, got));
    for (int i = 0; i < EVERY; i++) {
        bool is_number = every[i] == DB_BIGINT || every[i] == DB_INTEGER || every[i] == DB_BOOLEAN || every[i] == DB_XID8;
        assert_true(is_number ? got[i].number == DB_NULL_I64 : got[i].bytes.at == NULL);
    }
    assert_true(db_next(of_empty, got));
    for (int i = 0; i < EVERY; i++) {
        bool is_number = every[i] == DB_BIGINT || every[i] == DB_INTEGER || every[i] == DB_BOOLEAN || every[i] == DB_XID8;
        assert_true(is_number ? got[i].number == 0 : got[i].bytes.at != NULL && got[i].bytes.len == 0);
    }
}

static void many_rows_and_statements(void **state)
{
    struct db_batch *batch = batch_new();
    struct db_result *rows = db_add(batch, &numbers_to, (const union db_value[]){{.number = 10000}});
    for (int64_t id = 0; id < 3000; id++)
        add_item(batch, id,
                 "a name of some length, so that the trip is larger than the socket's buffer and has to be read while it is sent");
    union db_value column;
    assert_int_equal(db_run(batch), FAULT_OK);
    for (int64_t n = 1; n <= 10000; n++) {
        assert_true(db_next(rows, &column));
        assert_int_equal(column.number, n);
    }
    assert_false(db_next(rows, &column));
    assert_int_equal(item_count(), 3000);
}

static void large_values(void **state)
{
    size_t size = 8 << 20;
    char *text = arena_alloc_raw(arena, size);
    memset(text, 'x', size);
    struct db_batch *batch = batch_new();
    struct db_result *echo = db_add(batch, &echo_text, (const union db_value[]){{.bytes = slice_of(text, size)}});
    union db_value column;
    assert_int_equal(db_run(batch), FAULT_OK);
    assert_true(db_next(echo, &column));
    assert_true(slice_eq(column.bytes, slice_of(text, size)));
}

static void functions_without_columns(void **state)
{
    struct db_batch *batch = batch_new();
    union db_value none;
    struct db_result *result = db_add(batch, &call_function, NULL);
    assert_int_equal(db_run(batch), FAULT_OK);
    assert_false(db_next(result, &none));
}

static void a_conflict_undoes_the_whole_batch(void **state)
{
    struct db_batch *batch = batch_new();
    add_item(batch, 1, "one");
    add_item(batch, 1, "again");
    struct db_result *never = db_add(batch, &count_items, NULL);
    union db_value column;
    assert_int_equal(db_run(batch), FAULT_CONFLICT);
    assert_string_equal(db_constraint(batch), "item_pkey");
    assert_false(db_next(never, &column));
    assert_int_equal(db_affected(never), 0);
    assert_int_equal(item_count(), 0);
}

/* The statement behind the failing one was to be prepared in the same trip: the server skipped that. */
static void skipped_prepares_are_made_up_for(void **state)
{
    struct db_pool *fresh = db_pool_create(pg.url, "", 1);
    struct db_batch *batch = db_batch(fresh, arena, soon());
    add_item(batch, 1, "one");
    add_item(batch, 1, "again");
    db_add(batch, &count_items, NULL);
    assert_int_equal(db_run(batch), FAULT_CONFLICT);
    db_add(batch, &count_items, NULL);
    assert_int_equal(db_run(batch), FAULT_OK);
    assert_string_equal(db_constraint(batch), "");
    arena_reset(arena);
    db_pool_destroy(&fresh);
}

static void other_races_are_conflicts(void **state)
{
    struct db_batch *batch = batch_new();
    db_add(batch, &insert_child, (const union db_value[]){{.number = 99}});
    assert_int_equal(db_run(batch), FAULT_CONFLICT);
    assert_string_equal(db_constraint(batch), "child_id_fkey");
}

/* A deferred constraint fails at the sync, or at COMMIT. */
static void conflicts_at_commit(void **state)
{
    struct db_batch *batch = batch_new(), *transaction = transaction_new();
    db_add(batch, &insert_late, (const union db_value[]){{.number = 1}});
    db_add(batch, &insert_late, (const union db_value[]){{.number = 1}});
    assert_int_equal(db_run(batch), FAULT_CONFLICT);
    assert_string_equal(db_constraint(batch), "late_once");
    db_add(transaction, &insert_late, (const union db_value[]){{.number = 1}});
    db_add(transaction, &insert_late, (const union db_value[]){{.number = 1}});
    assert_int_equal(db_step(transaction), FAULT_OK);
    assert_int_equal(db_commit(transaction), FAULT_CONFLICT);
    assert_string_equal(db_constraint(transaction), "late_once");
    assert_int_equal(item_count(), 0); /* the connection is good again */
}

static void lock_timeout_is_a_conflict(void **state)
{
    struct db_batch *holder = transaction_new(), *waiter = batch_new();
    add_item(holder, 1, "one");
    assert_int_equal(db_step(holder), FAULT_OK);
    add_item(waiter, 1, "waits for the other's fate");
    assert_int_equal(db_run(waiter), FAULT_CONFLICT);
    assert_int_equal(db_commit(holder), FAULT_OK);
}

static void bad_text_is_the_callers_fault(void **state)
{
    struct db_batch *batch = batch_new();
    db_add(batch, &echo_text, (const union db_value[]){{.bytes = SLICE("a\0b")}});
    assert_int_equal(db_run(batch), FAULT_INVALID_PARAM);
}

static void transactions_have_steps(void **state)
{
    struct db_batch *transaction = transaction_new();
    union db_value column;
    add_item(transaction, 1, "one");
    assert_int_equal(db_step(transaction), FAULT_OK);
    assert_int_equal(item_count(), 0); /* others do not see it */
    struct db_result *inside = db_add(transaction, &count_items, NULL);
    assert_int_equal(db_step(transaction), FAULT_OK);
    assert_true(db_next(inside, &column));
    assert_int_equal(column.number, 1);
    add_item(transaction, 2, "two");
    assert_int_equal(db_commit(transaction), FAULT_OK);
    assert_int_equal(item_count(), 2);
}

static void commit_alone_is_one_trip(void **state)
{
    struct db_pool_stats before, after;
    db_pool_stats(pool, &before);
    struct db_batch *transaction = transaction_new();
    add_item(transaction, 1, "one");
    assert_int_equal(db_commit(transaction), FAULT_OK);
    db_pool_stats(pool, &after);
    assert_int_equal(after.batches, before.batches + 1);
    assert_int_equal(item_count(), 1);
}

static void a_failed_step_ends_the_transaction(void **state)
{
    struct db_batch *transaction = transaction_new();
    struct db_pool_stats stats;
    add_item(transaction, 1, "one");
    assert_int_equal(db_step(transaction), FAULT_OK);
    add_item(transaction, 1, "again");
    assert_int_equal(db_step(transaction), FAULT_CONFLICT);
    assert_string_equal(db_constraint(transaction), "item_pkey");
    db_pool_stats(pool, &stats);
    assert_int_equal(stats.busy, 0);
    add_item(transaction, 2, "too late");
    assert_int_equal(db_step(transaction), FAULT_CONFLICT);
    assert_int_equal(db_commit(transaction), FAULT_CONFLICT);
    assert_int_equal(item_count(), 0);
}

static void dropped_transactions_roll_back(void **state)
{
    struct db_batch *transaction = transaction_new();
    add_item(transaction, 1, "one");
    assert_int_equal(db_step(transaction), FAULT_OK);
    arena_reset(arena);
    transaction = transaction_new();
    add_item(transaction, 1, "one");
    assert_int_equal(db_step(transaction), FAULT_OK);
    db_rollback(transaction);
    assert_int_equal(item_count(), 0);
}

static jmp_buf boundary;

static void jump_out(void *context)
{
    longjmp(boundary, 1);
}

/* What the kit does when a call wants too much: jump to the call's boundary, end its arena, go on with the next call. */
static void too_much_to_read_ends_the_call_only(void **state)
{
    for (volatile int is_transaction = 0; is_transaction < 2; is_transaction++) {
        struct arena *volatile small = arena_create(256 << 10);
        arena_on_limit(small, jump_out, NULL);
        if (setjmp(boundary) == 0) {
            struct db_batch *batch = is_transaction ? db_transaction(pool, small, soon()) : db_batch(pool, small, soon());
            db_add(batch, &numbers_to, (const union db_value[]){{.number = 10000000}});
            if (is_transaction)
                db_step(batch);
            else
                db_run(batch);
            fail_msg("ten million rows in 256 KiB");
        }
        struct arena *ended = small;
        arena_destroy(&ended);
    }
    assert_int_equal(item_count(), 0);
    for (int tries = 0;
         strcmp(pg_sql(&pg, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series%'"
                            " AND pid <> pg_backend_pid()"),
                "0") != 0;
         tries++)
        assert_true(tries < 200); /* the server was told to stop */
}

/* What is behind db_after_commit sees the batch as committed: the horizon is past it, in the same trip. */
static void what_follows_the_commit_sees_it(void **state)
{
    for (int round = 0; round < 3; round++) { /* the first one also prepares */
        struct db_batch *batch = batch_new();
        const union db_value params[] = {{.number = 7000 + round}, {.bytes = SLICE("placed")}};
        struct db_result *placed = db_add(batch, &insert_and_place, params);
        db_after_commit(batch);
        struct db_result *horizon = db_add(batch, &read_horizon, NULL);
        union db_value place[2], now[2];
        assert_int_equal(db_run(batch), FAULT_OK);
        assert_true(db_next(placed, place) && db_next(horizon, now));
        assert_true(place[1].number <= place[0].number); /* inside, the horizon is not past it */
        assert_true(now[0].number > place[0].number);
    }
    /* When the first part fails the second has run, and the fault is the first's. */
    struct db_batch *batch = batch_new();
    add_item(batch, 7000, "twice");
    db_after_commit(batch);
    struct db_result *horizon = db_add(batch, &read_horizon, NULL);
    union db_value now[2];
    assert_int_equal(db_run(batch), FAULT_CONFLICT);
    assert_false(db_next(horizon, now)); /* a failed run has no rows */
    assert_int_equal(db_run(batch_new()), FAULT_OK);
    batch = batch_new();
    horizon = db_add(batch, &read_horizon, NULL);
    assert_int_equal(db_run(batch), FAULT_OK); /* the connection is good for the next */
    assert_true(db_next(horizon, now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_follows_the_commit_sees_it, setup, teardown),
        cmocka_unit_test_setup_teardown(statements_run_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_batch_costs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_can_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(same_values_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(nulls_and_empty_ones_differ, setup, teardown),
        cmocka_unit_test_setup_teardown(many_rows_and_statements, setup, teardown),
        cmocka_unit_test_setup_teardown(large_values, setup, teardown),
        cmocka_unit_test_setup_teardown(functions_without_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(a_conflict_undoes_the_whole_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(skipped_prepares_are_made_up_for, setup, teardown),
        cmocka_unit_test_setup_teardown(other_races_are_conflicts, setup, teardown),
        cmocka_unit_test_setup_teardown(conflicts_at_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(lock_timeout_is_a_conflict, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_text_is_the_callers_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(transactions_have_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(commit_alone_is_one_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_step_ends_the_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(dropped_transactions_roll_back, setup, teardown),
        cmocka_unit_test_setup_teardown(too_much_to_read_ends_the_call_only, setup, teardown),
    };
    pg = pg_start();
    pool = db_pool_create(pg.url, "", 4);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    db_pool_destroy(&pool);
    pg_stop(&pg);
    return failed;
}
