/* PostgreSQL for handlers (DESIGN §6, §7): name independent statements, sync once, read. A batch is one pipelined implicit
 * transaction; the connection is taken from the process's pool for the length of db_run (or of a transaction) and is never held
 * across a call to another worker. Everything read lives in the batch's arena.
 * Statements are made by the folder's queries.sql (proto/generate_queries.py): for a block `name: user_by_token` there are
 *   struct db_result *q_user_by_token(struct db_batch *, params…);      adds it to the batch
 *   struct user_by_token_row; bool user_by_token_next(struct db_result *, struct user_by_token_row *);   after the run
 * Parameters and columns travel in binary. Absent slices, arrays with at == NULL and DB_NULL_I64 are NULL, both ways.
 * Faults: UNAVAILABLE (no connection, PostgreSQL restarting), DEADLINE, CONFLICT (serialization, deadlock, lock timeout, and unique
 * and foreign key violations: db_constraint names it), INVALID_PARAM (text that PostgreSQL cannot hold: a NUL), INTERNAL (other bad
 * values). Our own bad SQL is asserted. Threads: a batch belongs to the calling thread. Parameters are copied when a statement is
 * added. After db_run a batch can be filled and run again. */
#ifndef MYELIN_KIT_DB_H
#define MYELIN_KIT_DB_H

#include "lib/base/arena.h"
#include "proto/fault.h"

#define DB_NULL_I64 INT64_MIN

struct db_pool;
struct db_batch;
struct db_result;

/* One per process. url: libpq connection string or URI; role: SET ROLE after connect ("" keeps the login's). Connections open
 * lazily, are prepared on first use of each statement, and close after 30 s without use, the last one after 60 s. */
struct db_pool *db_pool_create(const char *url, const char *role, int connections_max);
void db_pool_destroy(struct db_pool **pool);
void db_pool_tidy(struct db_pool *pool); /* closes what was idle too long: to be called each second or so; cheap, any thread */
struct db_pool_stats {
    int open, busy, waiting;
    int64_t batches, statements, failures;
};
void db_pool_stats(struct db_pool *pool, struct db_pool_stats *out);
/* in_doubt(context) is called, on the thread at hand, when it is not known whether a write was committed: its commit may have
 * reached the server, and the answer did not come. Before the first batch. */
void db_pool_on_doubt(struct db_pool *pool, void (*in_doubt)(void *context), void *context);

/* deadline_ms: monotonic (clock_monotonic_ms); the batch is cancelled past it. One that writes ends 5 s after its first writing
 * statement was sent, whatever the deadline: its transaction holds the horizon of every listener back (DESIGN §8). */
struct db_batch *db_batch(struct db_pool *pool, struct arena *arena, int64_t deadline_ms);
enum fault db_run(struct db_batch *batch); /* sends all, one sync, reads all. A fault means that nothing was committed,
                                              or, UNAVAILABLE and DEADLINE, that it is not known: handlers must be repeatable. */

/* The one exception, for what becomes visible at once or not at all and may be very large (a room's whole state after a join): 30
 * s. To be said before anything is added; the session is called "… bulk" meanwhile, by which the supervisor's watch knows it. */
void db_bulk(struct db_batch *batch);

/* Statements added from here on travel with the same trip but run after what was added before has committed, in a transaction of
 * their own: reading the horizon that the commit left. They run also when the first part failed; db_run then tells the first fault.
 */
void db_after_commit(struct db_batch *batch);

/* A transaction of several steps: BEGIN travels with the first db_step. Each step sends what was added since and reads its results.
 * db_commit sends the rest and COMMIT in one trip. Dropped without commit (also when the arena ends): ROLLBACK. Keep it short: a
 * write transaction holds the horizon of every listener back (DESIGN §8). */
struct db_batch *db_transaction(struct db_pool *pool, struct arena *arena, int64_t deadline_ms);
enum fault db_step(struct db_batch *transaction);
enum fault db_commit(struct db_batch *transaction);
void db_rollback(struct db_batch *transaction);
/* After a CONFLICT: the constraint that was violated ("room_alias_pkey"), or "" . */
const char *db_constraint(const struct db_batch *batch);

int64_t db_affected(const struct db_result *result); /* rows changed or returned */

/* What generated code stands on. */
enum db_type { DB_BIGINT, DB_INTEGER, DB_TEXT, DB_BYTEA, DB_BOOLEAN, DB_XID8, DB_BIGINTS, DB_TEXTS, DB_BYTEAS };
struct db_statement {
    const char *name, *sql;
    const enum db_type *params, *columns;
    int param_count, column_count;
    bool writes; /* INSERT, UPDATE, DELETE somewhere in it */
};
union db_value {
    int64_t number; /* BIGINT, INTEGER, XID8, BOOLEAN */
    struct slice bytes;
    struct i64s numbers;
    struct slices texts;
};
struct db_result *db_add(struct db_batch *batch, const struct db_statement *statement, const union db_value *params);
bool db_next(struct db_result *result, union db_value *columns); /* false after the last row */

/* Every statement of this program, filled by generated constructors; for the prepare-and-plan test and metrics. */
const struct db_statement *const *db_statements(size_t *count);
void db_register_statements(const struct db_statement *const *statements, size_t count);

#endif
