/* One connection to PostgreSQL (private to lib/kit/db*.c). Used by one thread at a time. */
#ifndef MYELIN_KIT_DB_CONNECTION_H
#define MYELIN_KIT_DB_CONNECTION_H

#include <libpq-fe.h>

#include "lib/kit/db.h"

struct db_prepared {
    const struct db_statement *statement; /* NULL: free place */
    bool is_ready;                        /* prepared, or being prepared by the running trip */
};

struct db_connection {
    PGconn *pg;                 /* non-blocking, in pipeline mode */
    struct db_connection *next; /* among the pool's idle ones */
    int64_t idle_since_ms;
    struct db_prepared *prepared; /* hashed by address; capacity is a power of two */
    size_t prepared_count, prepared_capacity;
};

enum fault db_connection_open(const char *url, const char *role, int64_t deadline_ms, struct db_connection **out);
void db_connection_close(struct db_connection **connection);
/* Has the server told to stop what it is doing, without waiting for that; then close. */
void db_connection_cancel(struct db_connection *connection);
/* After a time in the pool: false when the server hung up or said anything. */
bool db_connection_is_quiet(const struct db_connection *connection);
/* The next result, NULL at a command's end; flushes what is unsent while it waits. DEADLINE, or OK: a broken connection gives
 * results that say so. */
enum fault db_connection_result(struct db_connection *connection, int64_t deadline_ms, PGresult **out);
/* The entry of a statement; made when there is none. Valid until the next call. */
struct db_prepared *db_connection_prepared(struct db_connection *connection, const struct db_statement *statement);

#endif
