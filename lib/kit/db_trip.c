/* A trip in libpq's pipeline mode. What goes out: [BEGIN] ([prepare] execute)… [COMMIT] sync, and
 * behind db_after_commit more executes and a sync of their own; a prepare travels right before the
 * first use of its statement on a connection, so it costs no trip of its own. What comes back, in this order: for each of them
 * results and a NULL, after an error "aborted" for the rest, then the sync. Rows are taken one at a time and copied into the arena:
 * a result of any size ends at the arena's limit instead of growing inside libpq. */
#include "lib/kit/db_trip.h"

#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/db_value.h"
#include "lib/kit/wait.h"

enum { PARAMS_MAX = 64 };

/* ---- out */
static bool send_prepare(PGconn *pg, const struct db_statement *statement)
{
    Oid types[PARAMS_MAX];
    ensure(statement->param_count <= PARAMS_MAX);
    for (int i = 0; i < statement->param_count; i++)
        types[i] = db_type_oid(statement->params[i]);
    return PQsendPrepare(pg, statement->name, statement->sql, statement->param_count, types);
}

static bool send_result(struct db_connection *connection, struct db_result *result)
{
    const struct db_statement *statement = result->statement;
    struct db_prepared *prepared = db_connection_prepared(connection, statement);
    result->is_preparing = !prepared->is_ready;
    if (result->is_preparing) {
        prepared->is_ready = true;
        if (!send_prepare(connection->pg, statement))
            return false;
    }
    return PQsendQueryPrepared(connection->pg, statement->name, statement->param_count, result->values, result->lengths,
                               result->formats, 1);
}

static bool send_word(PGconn *pg, const char *word)
{
    return !word || PQsendQueryParams(pg, word, 0, NULL, NULL, NULL, NULL, 1);
}

static bool send_all(struct db_trip *trip, struct db_connection *connection)
{
    if (!send_word(connection->pg, trip->before))
        return false;
    for (struct db_result *result = trip->first; result; result = result->next)
        if ((result->is_after_commit && !PQpipelineSync(connection->pg)) || !send_result(connection, result))
            return false;
    /* libpq keeps a failed write to itself until results are asked for: "true" proves nothing. */
    return send_word(connection->pg, trip->after) && PQpipelineSync(connection->pg) && PQflush(connection->pg) >= 0;
}

/* ---- back: rows */
static void check_columns(struct db_result *result, const PGresult *got)
{
    const struct db_statement *statement = result->statement;
    if (result->is_checked || statement->column_count == 0)
        return;
    result->is_checked = true;
    bool same = PQnfields(got) == statement->column_count;
    for (int i = 0; same && i < statement->column_count; i++)
        same = PQftype(got, i) == db_type_oid(statement->columns[i]) && PQfformat(got, i) == 1;
    if (!same)
        log_event(LOG_ERROR, "columns are not of the declared types", LOG_CSTR("statement", statement->name));
    ensure(same); /* queries.sql declares it wrongly: tests/check/queries says what is right */
}

static void copy_row(struct db_result *result, const PGresult *got, int row)
{
    int columns = result->statement->column_count;
    size_t index_size = sizeof(struct db_row) + (size_t)columns * sizeof(struct slice), size = index_size;
    for (int i = 0; i < columns; i++)
        size += (size_t)PQgetlength(got, row, i);
    struct db_row *copy = arena_alloc_raw(result->arena, size);
    char *end = (char *)copy + index_size;
    copy->next = NULL;
    for (int i = 0; i < columns; i++) {
        size_t length = (size_t)PQgetlength(got, row, i);
        copy->columns[i] = PQgetisnull(got, row, i) ? SLICE_ABSENT : slice_of(end, length);
        memcpy(end, PQgetvalue(got, row, i), length);
        end += length;
    }
    *(result->last ? &result->last->next : &result->first) = copy;
    result->last = copy;
}

static void take_rows(struct db_result *result, const PGresult *got)
{
    check_columns(result, got);
    if (result->statement->column_count == 0)
        return; /* a function called for its effect */
    for (int row = 0; row < PQntuples(got); row++)
        copy_row(result, got, row);
}

static void finish_result(struct db_result *result, PGresult *got)
{
    const char *affected = PQcmdTuples(got);
    result->affected = *affected ? strtoll(affected, NULL, 10) : 0;
    result->upcoming = result->first;
    result->state = DB_RESULT_READ;
}

/* ---- back: the sequence */
/* The next result of the pipeline into trip->in_hand, NULL at a command's end. */
static enum fault take_in_hand(struct db_trip *trip, struct db_connection *connection)
{
    enum fault fault = db_connection_result(connection, trip->deadline_ms, &trip->in_hand);
    if (!fault && trip->in_hand) /* libpq's own words on a lost connection have no SQLSTATE */
        trip->is_heard |= PQresultStatus(trip->in_hand) != PGRES_FATAL_ERROR || PQresultErrorField(trip->in_hand, PG_DIAG_SQLSTATE);
    return fault;
}

static void let_go(struct db_trip *trip)
{
    PQclear(trip->in_hand);
    trip->in_hand = NULL;
}

static void note_error(struct db_trip *trip, const char *name)
{
    if (!trip->error.fault)
        db_error_read(trip->in_hand, name, &trip->error);
}

/* Reads one command up to its NULL. result: NULL for those without (BEGIN, prepare). *done: it succeeded. */
static enum fault read_command(struct db_trip *trip, struct db_connection *connection, const char *name, struct db_result *result,
                               bool *done)
{
    *done = false;
    if (result)
        PQsetSingleRowMode(connection->pg);
    for (;;) {
        enum fault fault = take_in_hand(trip, connection);
        if (fault || !trip->in_hand)
            return fault;
        ExecStatusType status = PQresultStatus(trip->in_hand);
        bool is_broken = PQstatus(connection->pg) != CONNECTION_OK;
        switch (status) {
        case PGRES_SINGLE_TUPLE:
        case PGRES_TUPLES_OK:
        case PGRES_COMMAND_OK:
            *done = status != PGRES_SINGLE_TUPLE;
            if (result && status != PGRES_COMMAND_OK)
                take_rows(result, trip->in_hand);
            if (result && *done)
                finish_result(result, trip->in_hand);
            break;
        case PGRES_FATAL_ERROR:
            note_error(trip, name);
            break;
        case PGRES_PIPELINE_ABORTED:
            break;
        default: /* COPY, an empty statement, a sync too early */
            log_event(LOG_ERROR, "unexpected answer", LOG_CSTR("statement", name), LOG_CSTR("status", PQresStatus(status)));
            ensure(is_broken);
        }
        let_go(trip);
        if (is_broken)
            return FAULT_UNAVAILABLE;
    }
}

static enum fault read_result(struct db_trip *trip, struct db_connection *connection, struct db_result *result)
{
    enum fault fault;
    bool done;
    const char *name = result->statement->name;
    if (result->is_preparing) {
        if ((fault = read_command(trip, connection, name, NULL, &done)))
            return fault;
        db_connection_prepared(connection, result->statement)->is_ready = done;
    }
    return read_command(trip, connection, name, result, &done);
}

/* The sync, or the error of a commit that it triggered and then the sync; after the last one the NULL that ends the pipeline. */
static enum fault read_sync(struct db_trip *trip, struct db_connection *connection, bool is_last)
{
    bool is_synced = false;
    for (;;) {
        enum fault fault = take_in_hand(trip, connection);
        if (fault)
            return fault;
        if (!trip->in_hand)
            return is_synced ? FAULT_OK : FAULT_UNAVAILABLE;
        is_synced |= PQresultStatus(trip->in_hand) == PGRES_PIPELINE_SYNC;
        if (PQresultStatus(trip->in_hand) == PGRES_FATAL_ERROR)
            note_error(trip, "sync");
        let_go(trip);
        if (PQstatus(connection->pg) != CONNECTION_OK)
            return FAULT_UNAVAILABLE;
        if (is_synced && !is_last)
            return FAULT_OK;
    }
}

static enum fault read_all(struct db_trip *trip, struct db_connection *connection)
{
    enum fault fault;
    bool done;
    if (trip->before && (fault = read_command(trip, connection, trip->before, NULL, &done)))
        return fault;
    for (struct db_result *result = trip->first; result; result = result->next)
        if ((result->is_after_commit && (fault = read_sync(trip, connection, false))) ||
            (fault = read_result(trip, connection, result)))
            return fault;
    if (trip->after && (fault = read_command(trip, connection, trip->after, NULL, &done)))
        return fault;
    return read_sync(trip, connection, true);
}

enum fault db_trip_make(struct db_trip *trip, struct db_connection *connection)
{
    trip->is_clean = trip->is_heard = false;
    wait_begin("database", slice_from_cstr(trip->first ? trip->first->statement->name : trip->after ? trip->after : "BEGIN"));
    trip->is_sent = send_all(trip, connection);
    enum fault fault = trip->is_sent ? read_all(trip, connection) : FAULT_UNAVAILABLE;
    wait_end();
    trip->is_clean = !fault && PQstatus(connection->pg) == CONNECTION_OK;
    if (trip->error.fault) /* what the server said before it hung up tells more than the hang-up */
        fault = trip->error.fault;
    else if (fault == FAULT_UNAVAILABLE)
        log_event(LOG_WARN, "database connection lost", LOG_CSTR("error", PQerrorMessage(connection->pg)));
    for (struct db_result *result = trip->first; result && fault; result = result->next)
        result->state = DB_RESULT_FAILED;
    return fault;
}
