/* A connection: libpq non-blocking underneath, so that every wait ends at the caller's deadline. Session settings and the role
 * travel in the start-up packet ("options"), they cost no round trip. */
#include "lib/kit/db_connection.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/db_cancel.h"

enum { CONNECT_MAX_MS = 5000, PREPARED_FIRST = 32 };

/* Back-stops behind our own deadlines; client_connection_check_interval ends the work of callers who died. And one plan per
 * statement, the generic one that tests/check/queries looked at: made once per connection, perhaps while its tables are still
 * empty, and kept until autovacuum's first visit. So it must be right for large tables from the start: index scans and nested
 * loops, whose cost follows the rows wanted. What reads whole tables on purpose, or joins two large lists, pays for that. The check
 * reads these lines. */
static const char session_settings[] =
    " -c statement_timeout=60000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=5000"
    " -c client_connection_check_interval=1000 -c plan_cache_mode=force_generic_plan -c jit=off"
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off";

/* Wants of `events`; at most until the deadline. False: it passed. */
static bool wait_for(const PGconn *pg, short events, int64_t deadline_ms)
{
    struct pollfd wanted = {.fd = PQsocket(pg), .events = events};
    for (;;) {
        int64_t left = deadline_ms - clock_monotonic_ms();
        if (left <= 0)
            return false;
        int ready = poll(&wanted, 1, left > 60000 ? 60000 : (int)left);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return true; /* also hang-ups and errors: libpq finds out which */
    }
}

/* Options that the URL asks for itself come first, so that ours win where both speak. */
static char *session_options(const char *url, const char *role)
{
    PQconninfoOption *given = PQconninfoParse(url, NULL);
    const char *theirs = "";
    for (PQconninfoOption *option = given; option && option->keyword; option++)
        if (strcmp(option->keyword, "options") == 0 && option->val)
            theirs = option->val;
    char *options;
    int length = asprintf(&options, "%s%s%s%s", theirs, session_settings, *role ? " -c role=" : "", role);
    ensure(length > 0);
    PQconninfoFree(given);
    return options;
}

static void ignore_notice(void *unused, const PGresult *notice)
{
    log_event(LOG_DEBUG, "database notice", LOG_CSTR("notice", PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY)));
}

/* From PostgreSQL 17 on; in the start-up packet it would keep us out of older ones. Readers too: what a caller's deadline did not
 * end. */
static enum fault limit_transactions(PGconn *pg, int64_t deadline_ms)
{
    enum fault fault;
    bool is_set = true;
    struct db_connection plain = {.pg = pg};
    PGresult *result;
    if (PQserverVersion(pg) < 170000)
        return FAULT_OK;
    if (!PQsendQuery(pg, "SET transaction_timeout = 60000"))
        return FAULT_UNAVAILABLE;
    while (!(fault = db_connection_result(&plain, deadline_ms, &result)) && result) {
        is_set &= PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
    }
    return fault || is_set ? fault : FAULT_UNAVAILABLE;
}

static enum fault finish_connecting(PGconn *pg, int64_t deadline_ms)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (!wait_for(pg, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms))
            return FAULT_DEADLINE;
        state = PQconnectPoll(pg);
        if (state == PGRES_POLLING_FAILED)
            return FAULT_UNAVAILABLE;
    }
    enum fault fault = PQsetnonblocking(pg, 1) == 0 ? limit_transactions(pg, deadline_ms) : FAULT_UNAVAILABLE;
    return fault || PQenterPipelineMode(pg) == 1 ? fault : FAULT_UNAVAILABLE;
}

/* When PostgreSQL is away every call fails here: one line a second is enough. */
static void log_refusal(const PGconn *pg)
{
    static _Atomic int64_t logged_ms;
    int64_t now_ms = clock_monotonic_ms(), last_ms = atomic_load(&logged_ms);
    if ((last_ms && now_ms - last_ms < 1000) || !atomic_compare_exchange_strong(&logged_ms, &last_ms, now_ms))
        return;
    const char *why = pg ? PQerrorMessage(pg) : "out of memory";
    log_event(LOG_WARN, "no connection to PostgreSQL", LOG_CSTR("error", why));
}

enum fault db_connection_open(const char *url, const char *role, int64_t deadline_ms, struct db_connection **out)
{
    int64_t now_ms = clock_monotonic_ms(), give_up_ms = now_ms + CONNECT_MAX_MS;
    bool is_callers_deadline = deadline_ms < give_up_ms;
    char *options = session_options(url, role);
    /* Before dbname: what the URL may override. After it: what it may not. */
    const char *const keywords[] = {
        "gssencmode", "tcp_user_timeout", "fallback_application_name", "dbname", "client_encoding", "options", NULL};
    const char *const values[] = {"disable", "10000", program_invocation_short_name, url, "UTF8", options, NULL};
    PGconn *pg = PQconnectStartParams(keywords, values, 1);
    free(options);
    enum fault fault = FAULT_UNAVAILABLE;
    if (pg && PQstatus(pg) != CONNECTION_BAD)
        fault = finish_connecting(pg, is_callers_deadline ? deadline_ms : give_up_ms);
    if (fault) {
        log_refusal(pg);
        PQfinish(pg);
        return fault == FAULT_DEADLINE && is_callers_deadline ? FAULT_DEADLINE : FAULT_UNAVAILABLE;
    }
    PQsetNoticeReceiver(pg, ignore_notice, NULL);
    struct db_connection *connection = calloc(1, sizeof *connection);
    ensure(connection != NULL);
    connection->pg = pg;
    *out = connection;
    return FAULT_OK;
}

void db_connection_close(struct db_connection **connection)
{
    if (!*connection)
        return;
    PQfinish((*connection)->pg);
    free((*connection)->prepared);
    free(*connection);
    *connection = NULL;
}

void db_connection_cancel(struct db_connection *connection)
{
    PGcancel *cancel = PQgetCancel(connection->pg);
    if (cancel)
        db_cancel_later(cancel);
}

bool db_connection_is_quiet(const struct db_connection *connection)
{
    struct pollfd heard = {.fd = PQsocket(connection->pg), .events = POLLIN};
    return PQstatus(connection->pg) == CONNECTION_OK && poll(&heard, 1, 0) == 0;
}

enum fault db_connection_result(struct db_connection *connection, int64_t deadline_ms, PGresult **out)
{
    PGconn *pg = connection->pg;
    while (PQisBusy(pg)) {
        int unsent = PQflush(pg); /* an error shows up in the result */
        if (!wait_for(pg, unsent > 0 ? POLLIN | POLLOUT : POLLIN, deadline_ms))
            return FAULT_DEADLINE;
        if (!PQconsumeInput(pg))
            break; /* PQgetResult does not block on a dead connection: it tells */
    }
    *out = PQgetResult(pg);
    return FAULT_OK;
}

static struct db_prepared *place_of(struct db_prepared *table, size_t capacity, const struct db_statement *statement)
{
    size_t at = ((uintptr_t)statement >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 32;
    while (table[at & (capacity - 1)].statement && table[at & (capacity - 1)].statement != statement)
        at++;
    return &table[at & (capacity - 1)];
}

static void prepared_grow(struct db_connection *connection)
{
    size_t capacity = connection->prepared_capacity ? 2 * connection->prepared_capacity : PREPARED_FIRST;
    struct db_prepared *table = calloc(capacity, sizeof *table);
    ensure(table != NULL);
    for (size_t i = 0; i < connection->prepared_capacity; i++)
        if (connection->prepared[i].statement)
            *place_of(table, capacity, connection->prepared[i].statement) = connection->prepared[i];
    free(connection->prepared);
    connection->prepared = table;
    connection->prepared_capacity = capacity;
}

struct db_prepared *db_connection_prepared(struct db_connection *connection, const struct db_statement *statement)
{
    if (connection->prepared_count * 4 >= connection->prepared_capacity * 3)
        prepared_grow(connection);
    struct db_prepared *place = place_of(connection->prepared, connection->prepared_capacity, statement);
    if (!place->statement) {
        place->statement = statement;
        connection->prepared_count++;
    }
    return place;
}
