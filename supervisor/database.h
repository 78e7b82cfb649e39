/* The database before anything runs: made when missing, migrated, and claimed for one server name. Blocking; start-up only. */
#ifndef MYELIN_SUPERVISOR_DATABASE_H
#define MYELIN_SUPERVISOR_DATABASE_H

#include "lib/base/arena.h"

#include <libpq-fe.h>

PGconn *database_connect(const char *url, int wait_ms, const char **error); /* tries again while it is not there yet; NULL */
void database_create(const char *maintenance_url, const char *name);        /* dies */
/* The workers' roles may log in (settings: database_logins); dies. */
void database_open_logins(PGconn *connection);
/* Fixes the name at the first start (when it is not empty); the name that the installation has. *first: it was fixed now, by us. */
struct slice database_claim(struct arena *arena, PGconn *connection, const char *server_name, bool *first);

#endif
