/* The process's connections (private to lib/kit/db*.c). Any thread. */
#ifndef MYELIN_KIT_DB_POOL_H
#define MYELIN_KIT_DB_POOL_H

#include "lib/kit/db_connection.h"

/* Waits for a free place until the deadline, opens a connection when none is idle. *is_reused: it may have gone stale unseen.
 * want_fresh: an idle one is closed instead of handed out. */
enum fault db_pool_take(struct db_pool *pool, int64_t deadline_ms, bool want_fresh, struct db_connection **out, bool *is_reused);
/* Back into the pool when it is clean, else it is closed. Clears *connection. */
void db_pool_give(struct db_pool *pool, struct db_connection **connection, bool is_clean);
void db_pool_count(struct db_pool *pool, int64_t statements, bool is_failure); /* one trip */
void db_pool_doubt(struct db_pool *pool);                                      /* nobody knows whether the last trip committed */

#endif
