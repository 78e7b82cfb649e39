/* What cannot be mended later is refused at the start: the database's order of text is part of every index, and a cluster whose
 * locale changes under it (a new libc, another image) silently breaks those. "C" is bytes and never changes. */
#include "lib/kit/database_check.h"

enum { OLDEST_SERVER = 150000 };

static const char create_it[] = "create it with: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'";

static const char facts_sql[] = "SELECT pg_encoding_to_char(encoding), datlocprovider, datcollate, pg_is_in_recovery(), datname"
                                " FROM pg_database WHERE datname = current_database()";

static bool refuse(const char **problem, struct slice why)
{
    *problem = why.at;
    return false;
}

static bool check_facts(struct arena *arena, const PGresult *facts, const char **problem)
{
    const char *encoding = PQgetvalue(facts, 0, 0), *provider = PQgetvalue(facts, 0, 1), *collation = PQgetvalue(facts, 0, 2);
    const char *name = PQgetvalue(facts, 0, 4);
    bool is_bytewise = *provider == 'b' || (*provider == 'c' && (strcmp(collation, "C") == 0 || strcmp(collation, "POSIX") == 0));
    if (strcmp(encoding, "UTF8") != 0)
        return refuse(problem, arena_printf(arena, "database %s has encoding %s, it must be UTF8; %s", name, encoding, create_it));
    if (!is_bytewise)
        return refuse(problem, arena_printf(arena, "database %s sorts text by %s%s, it must be \"C\"; %s", name,
                                            *provider == 'i' ? "ICU, default " : "", collation, create_it));
    if (*PQgetvalue(facts, 0, 3) == 't')
        return refuse(problem, arena_printf(arena,
                                            "database %s is on a standby, which cannot be written to; connect to the primary "
                                            "(target_session_attrs=read-write)",
                                            name));
    return true;
}

bool database_check(struct arena *arena, PGconn *connection, const char **problem)
{
    if (PQstatus(connection) != CONNECTION_OK)
        return refuse(problem, arena_printf(arena, "no connection to PostgreSQL: %s", PQerrorMessage(connection)));
    int version = PQserverVersion(connection);
    if (version < OLDEST_SERVER)
        return refuse(problem, arena_printf(arena, "PostgreSQL %d is too old, at least %d is needed", version / 10000,
                                            OLDEST_SERVER / 10000));
    PGresult *facts = PQexec(connection, facts_sql);
    bool is_good = PQntuples(facts) == 1 ? check_facts(arena, facts, problem)
                                         : refuse(problem, arena_printf(arena, "%s", PQerrorMessage(connection)));
    PQclear(facts);
    return is_good;
}

bool database_check_url(struct arena *arena, const char *url, const char **problem)
{
    PGconn *connection = PQconnectdb(url);
    bool is_good = database_check(arena, connection, problem);
    PQfinish(connection);
    return is_good;
}
