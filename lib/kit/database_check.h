/* Is this a database that Myelin can live in? Asked before each migration and by `myelin check`. */
#ifndef MYELIN_KIT_DATABASE_CHECK_H
#define MYELIN_KIT_DATABASE_CHECK_H

#include <libpq-fe.h>

#include "lib/base/arena.h"

/* True, or false and *problem says what is wrong and how to mend it. */
bool database_check(struct arena *arena, PGconn *connection, const char **problem);
bool database_check_url(struct arena *arena, const char *url, const char **problem); /* connects for it; may block */

#endif
