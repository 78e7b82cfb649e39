/* Migrations: connect, check, lock, compare what was applied with the files, apply the rest, look whether the database was
 * restored from a dump, grant. The connection is an ordinary
 * blocking one: nothing else waits on this thread, and an index build may take hours. */
#include "lib/kit/migrate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/kit/database_check.h"
#include "lib/kit/migrate_parts.h"

enum { LOCK_RETRY_US = 100 * 1000, TRIES = 20, TRY_AGAIN_US = 500 * 1000 };

static const char version_table[] = "SET client_min_messages = warning;"
                                    "CREATE TABLE IF NOT EXISTS schema_version ("
                                    " version integer PRIMARY KEY, name text NOT NULL, checksum bytea NOT NULL,"
                                    " oldest_compatible integer NOT NULL,"
                                    " applied_ts bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint)";

enum migrate_result migrate_fail(struct migrate *migrate, enum migrate_result result, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    migrate->report->error = arena_printf(migrate->arena, "%s", text).at;
    return result;
}

static enum migrate_result fail_sql(struct migrate *migrate, const char *what)
{
    bool is_gone = PQstatus(migrate->pg) != CONNECTION_OK;
    return migrate_fail(migrate, is_gone ? MIGRATE_UNREACHABLE : MIGRATE_FAILED, "%s: %s", what, PQerrorMessage(migrate->pg));
}

static bool is_fine(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
}

/* An ALTER TABLE that waits for its lock holds up everyone behind it: it gives up soon and tries again. */
enum migrate_result migrate_exec(struct migrate *migrate, const char *sql, const char *what)
{
    for (int tries = 1;; tries++) {
        PGresult *result = PQexec(migrate->pg, sql);
        const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        bool fine = is_fine(result), is_locked = sqlstate && (strcmp(sqlstate, "55P03") == 0 || strcmp(sqlstate, "40P01") == 0);
        PQclear(result);
        if (fine)
            return MIGRATE_DONE;
        enum migrate_result failure = fail_sql(migrate, what);
        if (PQtransactionStatus(migrate->pg) == PQTRANS_INERROR)
            PQclear(PQexec(migrate->pg, "ROLLBACK"));
        if (!is_locked || tries == TRIES)
            return failure;
        usleep(TRY_AGAIN_US);
    }
}

enum migrate_result migrate_ask(struct migrate *migrate, const char *sql, const char **out)
{
    PGresult *result = PQexec(migrate->pg, sql);
    if (!is_fine(result)) {
        PQclear(result);
        return fail_sql(migrate, sql);
    }
    *out = PQntuples(result) ? arena_printf(migrate->arena, "%s", PQgetvalue(result, 0, 0)).at : "";
    PQclear(result);
    return MIGRATE_DONE;
}

/* Asked for again and again instead of waited for: a waiting statement holds a snapshot, and CREATE INDEX CONCURRENTLY of the one
 * who has the lock would wait for that. Released with the connection. */
static enum migrate_result lock(struct migrate *migrate)
{
    enum migrate_result result;
    const char *is_locked = "";
    while (!(result = migrate_ask(migrate, "SELECT pg_try_advisory_lock(hashtextextended('myelin migrations', 0))", &is_locked)) &&
           *is_locked != 't')
        usleep(LOCK_RETRY_US);
    return result;
}

/* ---- what was applied before */
static enum migrate_result check_applied(struct migrate *migrate, const PGresult *rows)
{
    for (int i = 0; i < PQntuples(rows); i++) {
        int version = atoi(PQgetvalue(rows, i, 0)), oldest_compatible = atoi(PQgetvalue(rows, i, 3));
        if (oldest_compatible > migrate->count)
            return migrate_fail(
                migrate, MIGRATE_TOO_NEW,
                "the database has schema version %d, which needs a program of schema version %d or newer; this one has %d",
                migrate->report->version_before, oldest_compatible, migrate->count);
        if (version != i + 1)
            return migrate_fail(migrate, MIGRATE_CHANGED, "schema_version lacks version %d", i + 1);
        if (version > migrate->count)
            continue; /* newer and compatible: someone is upgrading beside us */
        const struct migrate_file *file = &migrate->files[i];
        char hex[2 * MIGRATE_CHECKSUM + 1];
        for (int byte = 0; byte < MIGRATE_CHECKSUM; byte++)
            snprintf(hex + 2 * byte, 3, "%02x", file->checksum[byte]);
        if (strcmp(hex, PQgetvalue(rows, i, 2)) != 0)
            return migrate_fail(migrate, MIGRATE_CHANGED,
                                "%s/%s was changed after it was applied as %s; changes belong into a new file", migrate->folder,
                                file->name, PQgetvalue(rows, i, 1));
    }
    return MIGRATE_DONE;
}

static enum migrate_result read_applied(struct migrate *migrate)
{
    PGresult *rows =
        PQexec(migrate->pg, "SELECT version, name, encode(checksum, 'hex'), oldest_compatible FROM schema_version ORDER BY 1");
    enum migrate_result result = MIGRATE_DONE;
    if (is_fine(rows)) {
        migrate->report->version_before = PQntuples(rows);
        result = check_applied(migrate, rows);
    } else {
        result = fail_sql(migrate, "schema_version");
    }
    PQclear(rows);
    return result;
}

/* ---- applying */
static const char *record_sql(struct migrate *migrate, const struct migrate_file *file)
{
    char hex[2 * MIGRATE_CHECKSUM + 1];
    for (int byte = 0; byte < MIGRATE_CHECKSUM; byte++)
        snprintf(hex + 2 * byte, 3, "%02x", file->checksum[byte]);
    return arena_printf(migrate->arena,
                        "INSERT INTO schema_version (version, name, checksum, oldest_compatible) SELECT %d, '%s', '\\x%s', "
                        "greatest(%d, (SELECT max(oldest_compatible) FROM schema_version), 1)",
                        file->version, file->name, hex, file->oldest_compatible)
        .at;
}

static enum migrate_result apply_whole(struct migrate *migrate, const struct migrate_file *file)
{
    const char *sql = arena_printf(migrate->arena, "BEGIN;\n%.*s\n;%s;\nCOMMIT;", PRI(file->sql), record_sql(migrate, file)).at;
    return migrate_exec(migrate, sql, file->name);
}

static enum migrate_result apply_one_by_one(struct migrate *migrate, const struct migrate_file *file)
{
    struct slice rest = file->sql;
    enum migrate_result result = MIGRATE_DONE;
    while (!result && slice_trim(rest).len) {
        const char *end = memmem(rest.at, rest.len, ";\n", 2);
        size_t length = end ? (size_t)(end + 2 - rest.at) : rest.len;
        result = migrate_exec(migrate, arena_cstr(migrate->arena, slice_sub(rest, 0, length)), file->name);
        rest = slice_sub(rest, length, SIZE_MAX);
    }
    return result ? result : migrate_exec(migrate, record_sql(migrate, file), file->name);
}

static enum migrate_result apply(struct migrate *migrate)
{
    for (int i = migrate->report->version_before; i < migrate->count; i++) {
        const struct migrate_file *file = &migrate->files[i];
        int64_t start_ms = clock_monotonic_ms();
        enum migrate_result result = file->is_transaction ? apply_whole(migrate, file) : apply_one_by_one(migrate, file);
        if (result)
            return result;
        migrate->report->applied++;
        migrate->report->version_after = file->version;
        log_event(LOG_INFO, "migrated", LOG_CSTR("file", file->name), LOG_I64("ms", clock_monotonic_ms() - start_ms));
    }
    return MIGRATE_DONE;
}

static enum migrate_result run(struct migrate *migrate, const char *url)
{
    enum migrate_result result;
    const char *problem;
    if ((result = migrate_read_folder(migrate)))
        return result;
    migrate->pg = PQconnectdb(url);
    if (!database_check(migrate->arena, migrate->pg, &problem))
        return migrate_fail(migrate, PQstatus(migrate->pg) == CONNECTION_OK ? MIGRATE_UNFIT : MIGRATE_UNREACHABLE, "%s", problem);
    if ((result = lock(migrate)) || (result = migrate_exec(migrate, version_table, "schema_version")) ||
        (result = read_applied(migrate)))
        return result;
    migrate->report->version_after = migrate->report->version_before;
    if ((result = migrate_exec(migrate, "SET lock_timeout = '3s'", "lock_timeout")) || (result = apply(migrate)) ||
        (result = migrate_epoch(migrate)))
        return result;
    /* A newer program has made its own grants, on tables that we do not know. */
    return migrate->report->version_before > migrate->count ? MIGRATE_DONE : migrate_grant(migrate);
}

enum migrate_result migrate_run(const char *url, const char *schema_folder, struct arena *arena, struct migrate_report *report)
{
    *report = (struct migrate_report){0};
    struct migrate migrate = {.arena = arena, .folder = schema_folder, .report = report};
    enum migrate_result result = run(&migrate, url);
    PQfinish(migrate.pg);
    return result;
}
