/* Migrations and the database check, each case in a database of its own. */
#include "lib/kit/migrate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/kit/database_check.h"
#include "lib/kit/db.h"
#include "tests/lib/pg.h"

static struct pg pg, here; /* here: the same cluster, the test's own database */
static struct arena *arena;
static char folder[64];
static struct migrate_report report;

static void use_database(const char *name, const char *how)
{
    char sql[256];
    snprintf(sql, sizeof sql, "CREATE DATABASE %s %s", name, how);
    pg_sql(&pg, sql);
    here = pg;
    snprintf(here.url + strlen(here.url), sizeof here.url - strlen(here.url), "&dbname=%s", name);
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int setup(void **state)
{
    arena = arena_create(64 << 20);
    snprintf(folder, sizeof folder, "/tmp/myelin-schema-XXXXXX");
    assert_non_null(mkdtemp(folder));
    write_file("OWNERS", "# table kind\nfirst   events\nsecond  supervisor\n");
    write_file("0001_first.sql", "CREATE TABLE first (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, serial bigserial);\n"
                                 "CREATE TABLE second (id bigint);\n");
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    arena_destroy(&arena);
    return 0;
}

static enum migrate_result migrate(void)
{
    return migrate_run(here.url, folder, arena, &report);
}

static void files_run_once_and_in_order(void **state)
{
    use_database("in_order", "");
    assert_int_equal(migrate(), MIGRATE_DONE);
    assert_int_equal(report.version_before, 0);
    assert_int_equal(report.version_after, 1);
    write_file("0002_more.sql", "-- oldest compatible: 2\nALTER TABLE first ADD COLUMN more text;");
    write_file("0003_index.sql", "-- no transaction\nDROP INDEX CONCURRENTLY IF EXISTS first_more;\n"
                                 "CREATE INDEX CONCURRENTLY first_more ON first (more);\n");
    assert_int_equal(migrate(), MIGRATE_DONE);
    assert_int_equal(report.version_before, 1);
    assert_int_equal(report.version_after, 3);
    assert_int_equal(report.applied, 2);
    assert_string_equal(pg_sql(&here, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'first_more'::regclass"), "t");
    assert_string_equal(
        pg_sql(&here,
               "SELECT string_agg(version || ' ' || name || ' ' || oldest_compatible, ', ' ORDER BY version) FROM schema_version"),
        "1 0001_first.sql 1, 2 0002_more.sql 2, 3 0003_index.sql 2");
    assert_int_equal(migrate(), MIGRATE_DONE);
    assert_int_equal(report.applied, 0);
}

static void a_failing_file_leaves_nothing(void **state)
{
    use_database("failing", "");
    write_file("0002_bad.sql", "CREATE TABLE third (id bigint);\nCREATE TABLE third (id bigint);\n");
    assert_int_equal(migrate(), MIGRATE_FAILED);
    assert_int_equal(report.version_after, 1);
    assert_non_null(strstr(report.error, "0002_bad.sql"));
    assert_non_null(strstr(report.error, "already exists"));
    assert_string_equal(pg_sql(&here, "SELECT to_regclass('third') IS NULL"), "t");
    write_file("0002_bad.sql", "CREATE TABLE third (id bigint);\n");
    assert_int_equal(migrate(), MIGRATE_DONE);
    assert_int_equal(report.version_after, 2);
}

static void changed_files_are_refused(void **state)
{
    use_database("changed", "");
    assert_int_equal(migrate(), MIGRATE_DONE);
    write_file("0001_first.sql", "CREATE TABLE first (id bigint);\nCREATE TABLE second (id bigint);\n");
    assert_int_equal(migrate(), MIGRATE_CHANGED);
    assert_non_null(strstr(report.error, "0001_first.sql was changed"));
}

static void newer_databases(void **state)
{
    use_database("newer", "");
    assert_int_equal(migrate(), MIGRATE_DONE);
    pg_sql(&here, "INSERT INTO schema_version VALUES (2, '0002_expand.sql', 'x', 1); CREATE TABLE third (id bigint);"
                  "GRANT INSERT ON third TO myelin_events");
    assert_int_equal(migrate(), MIGRATE_DONE); /* an upgrade runs beside us: nothing to do, its grants stay */
    assert_int_equal(report.version_after, 2);
    assert_string_equal(pg_sql(&here, "SELECT has_table_privilege('myelin_events', 'third', 'INSERT')"), "t");
    pg_sql(&here, "INSERT INTO schema_version VALUES (3, '0003_contract.sql', 'x', 2)");
    assert_int_equal(migrate(), MIGRATE_TOO_NEW);
    assert_non_null(strstr(report.error, "needs a program of schema version 2"));
}

static void owners_write_others_read(void **state)
{
    use_database("owners", "");
    assert_int_equal(migrate(), MIGRATE_DONE);
    static const struct {
        const char *sql, *expected;
    } cases[] = {
        {"SELECT has_table_privilege('myelin_events', 'first', 'INSERT') AND has_table_privilege('myelin_events', 'first', "
         "'DELETE')",
         "t"},
        {"SELECT has_sequence_privilege('myelin_events', 'first_serial_seq', 'USAGE')", "t"},
        {"SELECT has_table_privilege('myelin_rooms', 'first', 'SELECT')", "t"},
        {"SELECT has_table_privilege('myelin_rooms', 'first', 'INSERT, UPDATE, DELETE, TRUNCATE')", "f"},
        {"SELECT has_table_privilege('myelin_events', 'second', 'INSERT')", "f"},
        {"SELECT has_table_privilege('myelin_events', 'schema_version', 'INSERT')", "f"},
        {"SELECT rolcanlogin FROM pg_roles WHERE rolname = 'myelin_events'", "f"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(pg_sql(&here, cases[i].sql), cases[i].expected);
    write_file("OWNERS", "first rooms\n"); /* a table changes hands */
    assert_int_equal(migrate(), MIGRATE_DONE);
    assert_string_equal(pg_sql(&here, "SELECT has_table_privilege('myelin_events', 'first', 'INSERT')"), "f");
    assert_string_equal(pg_sql(&here, "SELECT has_table_privilege('myelin_rooms', 'first', 'INSERT')"), "t");
}

/* Managed PostgreSQL gives no superuser: CREATEROLE is enough. Workers then log in as that login and switch. */
static void without_superuser(void **state)
{
    use_database("modest", "");
    pg_sql(&pg, "CREATE ROLE modest_login LOGIN CREATEROLE; ALTER DATABASE modest OWNER TO modest_login");
    char sql[2048]; /* the roles were made by another login of this cluster */
    snprintf(sql, sizeof sql, "GRANT %s TO modest_login",
             pg_sql(&pg, "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname LIKE 'myelin\\__%'"));
    pg_sql(&pg, sql);
    strcpy(strstr(here.url, "user=myelin"), "user=modest_login&dbname=modest");
    assert_int_equal(migrate(), MIGRATE_DONE);
    struct db_pool *pool = db_pool_create(here.url, "myelin_events", 1);
    static const struct db_statement insert = {.name = "insert", .sql = "INSERT INTO first DEFAULT VALUES"};
    struct db_batch *batch = db_batch(pool, arena, clock_monotonic_ms() + 10000);
    db_add(batch, &insert, NULL);
    assert_int_equal(db_run(batch), FAULT_OK);
    db_pool_destroy(&pool);
}

static void bad_folders(void **state)
{
    use_database("folders", "");
    write_file("OWNERS", "first events\nthird events\n");
    assert_int_equal(migrate(), MIGRATE_BAD_FILES);
    assert_non_null(strstr(report.error, "OWNERS:2: there is no table third"));
    write_file("OWNERS", "first signing\n");
    assert_int_equal(migrate(), MIGRATE_BAD_FILES);
    assert_non_null(strstr(report.error, "OWNERS:1: signing has no database role"));
    write_file("0003_gap.sql", "SELECT 1;");
    assert_int_equal(migrate(), MIGRATE_BAD_FILES);
    assert_non_null(strstr(report.error, "expected 0002"));
    assert_int_equal(migrate_run(here.url, "/nonexistent", arena, &report), MIGRATE_BAD_FILES);
}

static void *migrate_beside(void *result)
{
    struct arena *own = arena_create(64 << 20);
    struct migrate_report own_report;
    *(enum migrate_result *)result = migrate_run(here.url, folder, own, &own_report);
    arena_destroy(&own);
    return NULL;
}

static void several_at_once(void **state)
{
    enum { SUPERVISORS = 4 };
    pthread_t threads[SUPERVISORS];
    enum migrate_result results[SUPERVISORS];
    use_database("at_once", "");
    write_file("0002_index.sql", "-- no transaction\nCREATE INDEX CONCURRENTLY first_index ON first (serial);\n");
    for (int i = 0; i < SUPERVISORS; i++)
        pthread_create(&threads[i], NULL, migrate_beside, &results[i]);
    for (int i = 0; i < SUPERVISORS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SUPERVISORS; i++)
        assert_int_equal(results[i], MIGRATE_DONE);
    assert_string_equal(pg_sql(&here, "SELECT count(*) FROM schema_version"), "2");
}

static void unfit_databases(void **state)
{
    const char *problem = NULL;
    use_database("fit", "");
    assert_true(database_check_url(arena, here.url, &problem));
    use_database("sorted", "TEMPLATE template0 LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'");
    assert_int_equal(migrate(), MIGRATE_UNFIT);
    assert_non_null(strstr(report.error, "sorts text by C.UTF-8, it must be \"C\""));
    use_database("encoded", "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    assert_false(database_check_url(arena, here.url, &problem));
    assert_non_null(strstr(problem, "has encoding LATIN1, it must be UTF8"));
    assert_int_equal(migrate_run("host=/nonexistent", folder, arena, &report), MIGRATE_UNREACHABLE);
}

static void our_own_schema(void **state)
{
    use_database("ours", "");
    assert_int_equal(migrate_run(here.url, MYELIN_SOURCE_DIR "/schema", arena, &report), MIGRATE_DONE);
    assert_int_equal(migrate_run(here.url, MYELIN_SOURCE_DIR "/schema", arena, &report), MIGRATE_DONE);
    assert_int_equal(report.applied, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_run_once_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failing_file_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(newer_databases, setup, teardown),
        cmocka_unit_test_setup_teardown(owners_write_others_read, setup, teardown),
        cmocka_unit_test_setup_teardown(without_superuser, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(several_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(unfit_databases, setup, teardown),
        cmocka_unit_test_setup_teardown(our_own_schema, setup, teardown),
    };
    pg = pg_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_stop(&pg);
    return failed;
}
