/* A database that came here by dump and restore: transaction numbers start over in another cluster, so the positions that the dump
 * brought (columns of type xid8, DESIGN §8) lie in the future, where no snapshot and no horizon ever comes. Where the database
 * lives is known by two numbers that no dump carries: the cluster's identifier and the oid of the table `cluster`. When they are
 * others than those in its row, once, before any worker runs:
 *   1. If positions lie in the future, all are renumbered: the smallest becomes 3, the next one 4, …; equal ones stay equal, order
 * stays. The counter is moved past them first, by transactions that do nothing (about 100,000 a second).
 *   2. One-time keys are deleted: some were handed out after the dump was made, and must not be twice.
 *   3. The epoch grows: sync tokens of before start over (lib/store/cluster_epoch.h).
 * 1 to 3 are one transaction: whoever is interrupted starts anew. It rewrites the rows of all streams; nobody else is at work yet.
 */
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/strbuf.h"
#include "lib/kit/migrate_parts.h"

enum { FIRST_POSITION = 3, BURN_ONCE = 1000000 };

struct position_column {
    const char *table, *column; /* quoted */
};

static const char home_sql[] = "SELECT (pg_control_system()).system_identifier::text || '/' || (quote_ident(current_schema()) || "
                               "'.cluster')::regclass::oid::text";

/* ---- what has positions */

static enum migrate_result read_columns(struct migrate *migrate, struct position_column **out, size_t *count)
{
    enum migrate_result result;
    const char *list;
    const char *sql =
        "SELECT string_agg(quote_ident(c.relname) || '.' || quote_ident(a.attname), ' ' ORDER BY c.relname, a.attname) "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = "
        "quote_ident(current_schema())::regnamespace "
        "AND c.relkind = 'r' AND a.atttypid = 'xid8'::regtype AND NOT a.attisdropped";
    if ((result = migrate_ask(migrate, sql, &list)))
        return result;
    struct slice rest = slice_from_cstr(list), name, table, column;
    *out = arena_new_array(migrate->arena, rest.len / 2 + 1, struct position_column);
    *count = 0;
    while (rest.len) {
        if (!slice_cut(rest, ' ', &name, &rest)) {
            name = rest;
            rest.len = 0;
        }
        slice_cut(name, '.', &table, &column);
        (*out)[(*count)++] = (struct position_column){arena_cstr(migrate->arena, table), arena_cstr(migrate->arena, column)};
    }
    return MIGRATE_DONE;
}

/* "SELECT pos FROM a UNION SELECT pos FROM b …": every position once. */
static const char *all_positions(struct migrate *migrate, const struct position_column *columns, size_t count)
{
    struct strbuf sql = strbuf_in(migrate->arena);
    for (size_t i = 0; i < count; i++)
        strbuf_printf(&sql, "%sSELECT %s AS pos FROM %s WHERE %s >= '%d'", i ? " UNION " : "", columns[i].column, columns[i].table,
                      columns[i].column, FIRST_POSITION);
    return arena_cstr(migrate->arena, strbuf_slice(&sql));
}

/* ---- the counter */

/* Past `position`, a million at a time. */
static enum migrate_result move_counter(struct migrate *migrate, int64_t position)
{
    for (;;) {
        enum migrate_result result;
        const char *now;
        if ((result = migrate_ask(migrate, "SELECT pg_current_xact_id()", &now)))
            return result;
        int64_t missing = position - strtoll(now, NULL, 10);
        if (missing < 0)
            return MIGRATE_DONE;
        log_event(LOG_INFO, "the transaction counter is moved past the restored positions", LOG_I64("missing", missing));
        const char *sql =
            arena_printf(migrate->arena, "DO $$ BEGIN FOR i IN 1..%lld LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
                         (long long)(missing < BURN_ONCE ? missing + 1 : BURN_ONCE))
                .at;
        if ((result = migrate_exec(migrate, sql, "transaction counter")))
            return result;
    }
}

/* ---- the renumbering */

static enum migrate_result renumber_column(struct migrate *migrate, const struct position_column *at)
{
    const char *rows;
    int64_t start_ms = clock_monotonic_ms();
    const char *sql = arena_printf(migrate->arena,
                                   "WITH moved AS (UPDATE %s t SET %s = n.after FROM new_position n WHERE t.%s = n.before "
                                   "AND n.after <> n.before RETURNING 1) SELECT count(*) FROM moved",
                                   at->table, at->column, at->column)
                          .at;
    enum migrate_result result = migrate_ask(migrate, sql, &rows);
    if (!result)
        log_event(LOG_INFO, "restored positions are renumbered", LOG_CSTR("table", at->table), LOG_CSTR("column", at->column),
                  LOG_CSTR("rows", rows), LOG_I64("ms", clock_monotonic_ms() - start_ms));
    return result;
}

static enum migrate_result renumber(struct migrate *migrate, const struct position_column *columns, size_t count)
{
    enum migrate_result result;
    const char *sql = arena_printf(migrate->arena,
                                   "CREATE TEMPORARY TABLE new_position ON COMMIT DROP AS SELECT pos AS before, "
                                   "(%d + row_number() OVER (ORDER BY pos))::text::xid8 AS after FROM (%s) p; ANALYZE new_position",
                                   FIRST_POSITION - 1, all_positions(migrate, columns, count))
                          .at;
    if ((result = migrate_exec(migrate, sql, "positions")))
        return result;
    for (size_t i = 0; i < count; i++)
        if ((result = renumber_column(migrate, &columns[i])))
            return result;
    return MIGRATE_DONE;
}

static enum migrate_result is_in_the_future(struct migrate *migrate, const char *positions, bool *out, int64_t *distinct)
{
    const char *answer;
    const char *sql = arena_printf(migrate->arena,
                                   "SELECT count(*) || CASE WHEN max(pos) >= pg_current_xact_id() THEN ' future' ELSE ' past' END "
                                   "FROM (%s) p",
                                   positions)
                          .at;
    enum migrate_result result = migrate_ask(migrate, sql, &answer);
    *distinct = strtoll(answer, NULL, 10);
    *out = strstr(answer, "future") != NULL;
    return result;
}

static enum migrate_result begin_epoch(struct migrate *migrate, const struct position_column *columns, size_t count, bool future)
{
    enum migrate_result result;
    const char *keys, *epoch;
    if ((result = migrate_exec(migrate, "BEGIN", "BEGIN")) || (future && (result = renumber(migrate, columns, count))) ||
        (result = migrate_ask(migrate, "WITH gone AS (DELETE FROM one_time_key RETURNING 1) SELECT count(*) FROM gone", &keys)) ||
        (result = migrate_ask(
             migrate,
             arena_printf(migrate->arena, "UPDATE cluster SET epoch = epoch + 1, home = (%s) RETURNING epoch", home_sql).at,
             &epoch)) ||
        (result = migrate_exec(migrate, "COMMIT", "COMMIT")))
        return result;
    log_event(LOG_WARN, "this database was restored from a dump: sync tokens start over", LOG_CSTR("epoch", epoch),
              LOG_CSTR("one_time_keys_dropped", keys));
    return MIGRATE_DONE;
}

enum migrate_result migrate_epoch(struct migrate *migrate)
{
    enum migrate_result result;
    const char *place, *home, *here;
    if ((result =
             migrate_ask(migrate, "SELECT coalesce(to_regclass(quote_ident(current_schema()) || '.cluster')::text, '')", &place)) ||
        !*place)
        return result;
    if ((result = migrate_ask(migrate, home_sql, &here)) || (result = migrate_ask(migrate, "SELECT home FROM cluster", &home)))
        return result;
    if (strcmp(home, here) == 0)
        return MIGRATE_DONE;
    if (!*home) /* just made */
        return migrate_exec(migrate, arena_printf(migrate->arena, "UPDATE cluster SET home = '%s'", here).at, "cluster");
    struct position_column *columns;
    size_t count;
    bool future;
    int64_t distinct;
    if ((result = read_columns(migrate, &columns, &count)) ||
        (result = is_in_the_future(migrate, all_positions(migrate, columns, count), &future, &distinct)) ||
        (future && (result = move_counter(migrate, FIRST_POSITION + distinct))))
        return result;
    return begin_epoch(migrate, columns, count, future);
}
