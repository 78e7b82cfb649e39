/* A real dump of one cluster, restored into another whose transaction counter is far lower, and into a new database of the same one
 * (lib/kit/migrate_epoch.c). What workers and clients make of it is tests/system/restoring.py. */
#include "lib/kit/migrate.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "lib/base/log.h"
#include "tests/lib/pg.h"

static struct pg old, fresh;

static void migrate(const struct pg *pg)
{
    struct arena *arena = arena_create(64 << 20);
    struct migrate_report report;
    if (migrate_run(pg->url, MYELIN_SOURCE_DIR "/schema", arena, &report) != MIGRATE_DONE)
        fail_msg("%s", report.error);
    arena_destroy(&arena);
}

static void restore_into(const struct pg *pg)
{
    char command[1024];
    snprintf(command, sizeof command, "pg_dump --no-owner --no-privileges '%s' | psql -qX -v ON_ERROR_STOP=1 '%s' >/dev/null",
             old.url, pg->url);
    assert_int_equal(system(command), 0);
}

/* Positions as ranks: "1 3 3 7" and "1001 2000 2000 5000" are the same order. */
static void order_of(const struct pg *pg, char *out, size_t size)
{
    snprintf(
        out, size, "%s",
        pg_sql(pg,
               "SELECT md5(string_agg(name || '=' || rank, ',' ORDER BY name)) FROM ("
               "SELECT name, dense_rank() OVER (ORDER BY pos) AS rank FROM ("
               "SELECT 'e' || event_nid, pos FROM event UNION ALL SELECT 's' || slot, distributed_pos FROM sender_slot "
               "WHERE distributed_pos <> '0' UNION ALL SELECT 'd' || server, owed_pos FROM destination "
               "UNION ALL SELECT 'l' || user_id, pos FROM device_list UNION ALL SELECT 'c' || user_id, cached_pos FROM device_list "
               "WHERE cached_pos IS NOT NULL) p (name, pos)) r"));
}

static void fill(void)
{
    pg_sql(&old, "DO $$ BEGIN FOR i IN 1..60000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$");
    /* 5,000 events, each of a transaction of its own, more than a new cluster has counted: the counter must be moved. */
    pg_sql(
        &old,
        "INSERT INTO event (event_nid, event_id, room_nid, room_pos, pos, depth, type, sender, origin_server_ts, flags, prev_nids, "
        "auth_nids, json) SELECT i, '$' || i, 1, i, (20000 + 7 * i)::text::xid8, i, 't', '@a:b', 0, 16, '{}', '{}', '{}' "
        "FROM generate_series(1, 5000) i");
    pg_sql(&old, "INSERT INTO sender_slot VALUES (1, 5, '30001'), (2, 5, '0'), (3, 5, '59999')");
    pg_sql(&old, "INSERT INTO destination (server, slot, owed_pos) VALUES ('a', 1, '25003'), ('b', 1, '20007'), ('c', 1, NULL)");
    pg_sql(&old, "INSERT INTO device_list (user_id, cached_pos, pos) VALUES ('@a:b', NULL, '20014'), ('@c:d', '20015', '3')");
    pg_sql(&old, "INSERT INTO one_time_key (user_id, device_id, algorithm, key_id, key) VALUES ('@a:b', 'D', 'x', 'k', '{}')");
}

static void a_new_database_has_the_first_epoch(void **state)
{
    migrate(&old);
    migrate(&old);
    assert_string_equal(pg_sql(&old, "SELECT epoch FROM cluster"), "1");
    assert_string_equal(pg_sql(&old, "SELECT home <> '' FROM cluster"), "t");
    fill();
}

static void positions_come_into_the_past(void **state)
{
    char before[64], after[64];
    restore_into(&fresh);
    order_of(&old, before, sizeof before);
    assert_string_equal(pg_sql(&fresh, "SELECT max(pos) > pg_current_xact_id() FROM event"), "t");
    migrate(&fresh);
    order_of(&fresh, after, sizeof after);
    assert_string_equal(before, after);
    assert_string_equal(pg_sql(&fresh, "SELECT epoch FROM cluster"), "2");
    assert_string_equal(pg_sql(&fresh, "SELECT count(*) FROM one_time_key"), "0");
    assert_string_equal(pg_sql(&fresh, "SELECT count(*) FROM event WHERE NOT pg_visible_in_snapshot(pos, pg_current_snapshot())"),
                        "0");
    assert_string_equal(pg_sql(&fresh, "SELECT max(distributed_pos) < pg_snapshot_xmin(pg_current_snapshot()) FROM sender_slot"),
                        "t");
    assert_string_equal(pg_sql(&fresh, "SELECT distributed_pos FROM sender_slot WHERE slot = 2"), "0");
    assert_string_equal(pg_sql(&fresh, "SELECT min(pos) FROM device_list"), "3"); /* the first stays the first */
}

static void the_second_start_changes_nothing(void **state)
{
    char before[64];
    snprintf(before, sizeof before, "%.40s",
             pg_sql(&fresh, "SELECT md5(string_agg(pos::text, ',' ORDER BY event_nid)) FROM event"));
    pg_sql(&fresh, "INSERT INTO one_time_key (user_id, device_id, algorithm, key_id, key) VALUES ('@a:b', 'D', 'x', 'k', '{}')");
    migrate(&fresh);
    assert_string_equal(before, pg_sql(&fresh, "SELECT md5(string_agg(pos::text, ',' ORDER BY event_nid)) FROM event"));
    assert_string_equal(pg_sql(&fresh, "SELECT epoch FROM cluster"), "2");
    assert_string_equal(pg_sql(&fresh, "SELECT count(*) FROM one_time_key"), "1");
}

/* The counter goes on there: only tokens and one-time keys are of another time. */
static void beside_the_old_one(void **state)
{
    struct pg beside = old;
    char before[64];
    pg_sql(&old, "CREATE DATABASE beside");
    snprintf(beside.url + strlen(beside.url), sizeof beside.url - strlen(beside.url), "&dbname=beside");
    restore_into(&beside);
    snprintf(before, sizeof before, "%.40s",
             pg_sql(&beside, "SELECT md5(string_agg(pos::text, ',' ORDER BY event_nid)) FROM event"));
    migrate(&beside);
    assert_string_equal(before, pg_sql(&beside, "SELECT md5(string_agg(pos::text, ',' ORDER BY event_nid)) FROM event"));
    assert_string_equal(pg_sql(&beside, "SELECT epoch FROM cluster"), "2");
    assert_string_equal(pg_sql(&beside, "SELECT count(*) FROM one_time_key"), "0");
    assert_string_equal(pg_sql(&old, "SELECT epoch FROM cluster"), "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_database_has_the_first_epoch),
        cmocka_unit_test(positions_come_into_the_past),
        cmocka_unit_test(the_second_start_changes_nothing),
        cmocka_unit_test(beside_the_old_one),
    };
    log_init("test", LOG_ERROR);
    old = pg_start();
    fresh = pg_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_stop(&old);
    pg_stop(&fresh);
    return failed;
}
