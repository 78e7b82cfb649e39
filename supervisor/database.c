/* See database.h. */
#include "supervisor/database.h"

#include "lib/base/clock.h"
#include "lib/kit/db.h"
#include "proto/service.h"
#include "supervisor/say.h"

#include <stdio.h>
#include <time.h>

/* Not there yet, or still starting: worth another try. A refused password is not. */
static bool may_come(const PGconn *connection)
{
    const char *why = PQerrorMessage(connection);
    return strstr(why, "starting up") || strstr(why, "could not connect") || strstr(why, "Connection refused") ||
           strstr(why, "No such file") || strstr(why, "could not translate") || strstr(why, "timeout expired") ||
           strstr(why, "in recovery") || strstr(why, "shutting down");
}

PGconn *database_connect(const char *url, int wait_ms, const char **error)
{
    static char message[512];
    const char *const keywords[] = {"dbname", "application_name", "connect_timeout", NULL};
    const char *const values[] = {url, "myelin", "5", NULL};
    for (int64_t until_ms = clock_monotonic_ms() + wait_ms;;) {
        PGconn *connection = PQconnectdbParams(keywords, values, 1);
        if (PQstatus(connection) == CONNECTION_OK)
            return connection;
        size_t len = strcspn(PQerrorMessage(connection), "\n");
        if (len >= sizeof message)
            len = sizeof message - 1;
        memcpy(message, PQerrorMessage(connection), len);
        message[len] = '\0';
        *error = message;
        bool again = may_come(connection) && clock_monotonic_ms() < until_ms;
        PQfinish(connection);
        if (!again)
            return NULL;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
}

void database_create(const char *maintenance_url, const char *name)
{
    const char *error;
    PGconn *connection = database_connect(maintenance_url, 10000, &error);
    if (!connection)
        die("PostgreSQL: %s", error);
    char sql[256];
    char *quoted = PQescapeIdentifier(connection, name, strlen(name));
    snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", quoted);
    PQfreemem(quoted);
    PGresult *result = PQexec(connection, sql);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && (!state || strcmp(state, "42P04") != 0)) /* it is there already */
        die("PostgreSQL: cannot make the database: %s", PQresultErrorMessage(result));
    PQclear(result);
    PQfinish(connection);
}

/* Asked first: only who was not given the right by hand needs CREATEROLE here. */
void database_open_logins(PGconn *connection)
{
    for (int kind = 0; kind < SERVICE_COUNT; kind++) {
        const char *role = service_facts((enum service)kind)->db_role;
        if (!*role)
            continue;
        char sql[256];
        snprintf(
            sql, sizeof sql,
            "DO $$ BEGIN IF NOT (SELECT rolcanlogin FROM pg_roles WHERE rolname = '%s') THEN ALTER ROLE %s LOGIN; END IF; END $$",
            role, role);
        PGresult *result = PQexec(connection, sql);
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            die("PostgreSQL: the role %s may not log in: %s", role, PQresultErrorMessage(result));
        PQclear(result);
    }
}

struct slice database_claim(struct arena *arena, PGconn *connection, const char *server_name, bool *first)
{
    const char *sql = NULL;
    size_t count;
    const struct db_statement *const *all = db_statements(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i]->name, "server_claim") == 0)
            sql = all[i]->sql;
    PGresult *result = PQexecParams(connection, sql, 1, NULL, &server_name, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        die("PostgreSQL: %s", PQresultErrorMessage(result));
    struct slice name = PQntuples(result) ? arena_copy(arena, slice_from_cstr(PQgetvalue(result, 0, 0))) : SLICE("");
    *first = PQntuples(result) && PQgetvalue(result, 0, 1)[0] == 't';
    PQclear(result);
    return name;
}
