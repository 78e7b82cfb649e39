/* SQLSTATE → fault. Races and outages are the caller's daily life and become faults; a value that PostgreSQL cannot hold came from
 * outside and must not end a process that serves others; everything else (class 42 and its like) is our own mistake, which no retry
 * cures: asserted, so that it is found in the first test that runs the statement. */
#include "lib/kit/db_error.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/ensure.h"
#include "lib/base/log.h"

/* Longest match first: five characters name a condition, two its class. */
static const struct {
    const char *sqlstate;
    enum fault fault;
} table[] = {
    {"40001", FAULT_CONFLICT},      /* serialization_failure */
    {"40P01", FAULT_CONFLICT},      /* deadlock_detected */
    {"55P03", FAULT_CONFLICT},      /* lock_not_available: lock_timeout, NOWAIT */
    {"23505", FAULT_CONFLICT},      /* unique_violation */
    {"23P01", FAULT_CONFLICT},      /* exclusion_violation */
    {"23503", FAULT_CONFLICT},      /* foreign_key_violation: the parent went away meanwhile */
    {"57014", FAULT_DEADLINE},      /* query_canceled: statement_timeout or our own cancel */
    {"57", FAULT_UNAVAILABLE},      /* shutting down, starting up, database dropped */
    {"08", FAULT_UNAVAILABLE},      /* connection exceptions */
    {"53", FAULT_UNAVAILABLE},      /* out of memory, disk or connections */
    {"58", FAULT_UNAVAILABLE},      /* I/O error */
    {"XX", FAULT_UNAVAILABLE},      /* internal error, corrupted data: PostgreSQL's, not ours */
    {"25006", FAULT_UNAVAILABLE},   /* read_only_sql_transaction: we talk to a standby, the primary moved */
    {"25P03", FAULT_UNAVAILABLE},   /* idle_in_transaction_session_timeout */
    {"26000", FAULT_UNAVAILABLE},   /* invalid_sql_statement_name: a pooler or DEALLOCATE took our prepared ones */
    {"0A000", FAULT_UNAVAILABLE},   /* "cached plan must not change result type": a migration ran beside us */
    {"22021", FAULT_INVALID_PARAM}, /* character_not_in_repertoire: a NUL or bad UTF-8 in text */
    {"22", FAULT_INTERNAL},         /* other data exceptions */
    {"23", FAULT_INTERNAL},         /* NOT NULL and CHECK */
    {"54", FAULT_INTERNAL},         /* program_limit_exceeded: an index row too long */
};

/* FAULT_OK: not one that may happen. */
static enum fault fault_of(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strlen(table[i].sqlstate) == 5 && strcmp(sqlstate, table[i].sqlstate) == 0)
            return table[i].fault;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strlen(table[i].sqlstate) == 2 && strncmp(sqlstate, table[i].sqlstate, 2) == 0)
            return table[i].fault;
    return FAULT_OK;
}

static enum log_level level_of(enum fault fault)
{
    switch (fault) {
    case FAULT_CONFLICT:
    case FAULT_INVALID_PARAM:
        return LOG_DEBUG;
    case FAULT_UNAVAILABLE:
    case FAULT_DEADLINE:
        return LOG_WARN;
    default:
        return LOG_ERROR;
    }
}

void db_error_read(const PGresult *result, const char *statement, struct db_error *out)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    /* Without SQLSTATE libpq speaks for itself: the connection broke. */
    enum fault fault = sqlstate ? fault_of(sqlstate) : FAULT_UNAVAILABLE;
    log_event(fault ? level_of(fault) : LOG_ERROR, "database error", LOG_CSTR("statement", statement),
              LOG_CSTR("sqlstate", sqlstate), LOG_CSTR("error", message ? message : PQresultErrorMessage(result)),
              LOG_CSTR("constraint", constraint));
    ensure(fault != FAULT_OK); /* our SQL, schema or grants are wrong; the line above says how */
    out->fault = fault;
    snprintf(out->constraint, sizeof out->constraint, "%s", constraint ? constraint : "");
}
