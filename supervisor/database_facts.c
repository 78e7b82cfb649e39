/* See database_facts.h. */
#include "supervisor/database_facts.h"

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "proto/service.h"

#include <stdlib.h>

enum { WARN_MS = 1000, WARN_AGAIN_MS = 10000, TEXT_MAX = 1024 * 1024 };

struct slice database_facts_roles(struct arena *arena)
{
    struct strbuf roles = strbuf_in(arena);
    strbuf_add_char(&roles, '{');
    for (int kind = 0; kind < SERVICE_COUNT; kind++)
        if (*service_facts(kind)->db_role)
            strbuf_printf(&roles, "%s%s", roles.len > 1 ? "," : "", service_facts(kind)->db_role);
    strbuf_add_char(&roles, '}');
    return strbuf_slice(&roles);
}

/* ---- the horizon */

static int64_t number_at(const PGresult *result, int row, const char *column)
{
    return strtoll(PQgetvalue(result, row, PQfnumber(result, column)), NULL, 10);
}

static const char *text_at(const PGresult *result, int row, const char *column)
{
    return PQgetvalue(result, row, PQfnumber(result, column));
}

/* The same session is spoken of every ten seconds, and when it was ended. */
static void tell(struct database_facts *facts, const PGresult *result, int row, int64_t now_ms)
{
    int64_t pid = number_at(result, row, "pid"), age_ms = number_at(result, row, "age_ms");
    bool ended = *text_at(result, row, "ended") == 't';
    if (age_ms < WARN_MS || (!ended && pid == facts->warned_pid && now_ms < facts->warned_ms + WARN_AGAIN_MS))
        return;
    facts->warned_pid = pid;
    facts->warned_ms = now_ms;
    log_event(LOG_WARN,
              ended ? "a transaction that held the horizon back was ended" : "a transaction holds the horizon of all streams back",
              LOG_I64("pid", pid), LOG_CSTR("role", text_at(result, row, "role")),
              LOG_CSTR("application", text_at(result, row, "application")), LOG_CSTR("state", text_at(result, row, "state")),
              LOG_CSTR("query", text_at(result, row, "query")), LOG_I64("age_ms", age_ms));
}

/* Oldest first: the first one is the horizon's; younger ones are told of only when they were ended. */
void database_facts_take_horizon(struct database_facts *facts, const PGresult *result, int64_t now_ms)
{
    int rows = PQntuples(result);
    facts->horizon_lag_ms = rows ? number_at(result, 0, "age_ms") : 0;
    for (int row = 0; row < rows; row++) {
        bool ended = *text_at(result, row, "ended") == 't';
        facts->offenders_ended += ended;
        if (row == 0 || ended)
            tell(facts, result, row, now_ms);
    }
}

/* ---- tables */

static void family(struct strbuf *out, const PGresult *result, const char *name, const char *help, const char *column)
{
    strbuf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
    for (int row = 0; row < PQntuples(result); row++)
        strbuf_printf(out, "%s{table=\"%s\"} %s\n", name, text_at(result, row, "table_name"), text_at(result, row, column));
}

void database_facts_take_tables(struct database_facts *facts, const PGresult *result)
{
    struct arena *arena = arena_create(TEXT_MAX);
    struct strbuf out = strbuf_in(arena);
    family(&out, result, "myelin_table_rows", "Rows as of the last vacuum or analyze", "row_count");
    family(&out, result, "myelin_table_bytes", "On disk, with indexes", "bytes");
    free(facts->tables);
    facts->tables = strndup(out.at, out.len);
    ensure(facts->tables);
    arena_destroy(&arena);
}

void database_facts_metrics(const struct database_facts *facts, struct strbuf *out)
{
    strbuf_printf(out,
                  "# HELP myelin_horizon_lag_ms Age of the oldest writing transaction: streams tell nothing that is newer\n"
                  "# TYPE myelin_horizon_lag_ms gauge\nmyelin_horizon_lag_ms %lld\n"
                  "# HELP myelin_horizon_offenders_ended_total Sessions ended because they held the horizon for too long\n"
                  "# TYPE myelin_horizon_offenders_ended_total counter\nmyelin_horizon_offenders_ended_total %lld\n",
                  (long long)facts->horizon_lag_ms, (long long)facts->offenders_ended);
    if (facts->tables)
        strbuf_add_cstr(out, facts->tables);
}
