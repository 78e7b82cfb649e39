/* What a PostgreSQL error means to us (private to lib/kit/db*.c). */
#ifndef MYELIN_KIT_DB_ERROR_H
#define MYELIN_KIT_DB_ERROR_H

#include <libpq-fe.h>

#include "proto/fault.h"

enum { DB_CONSTRAINT_SIZE = 64 }; /* PostgreSQL's NAMEDATALEN */

struct db_error {
    enum fault fault;
    char constraint[DB_CONSTRAINT_SIZE];
};

/* Reads a failed result, logs it, fills *out. Ends the process when the error can only be a mistake in our SQL, schema or grants.
 * statement: its name, for the log. */
void db_error_read(const PGresult *result, const char *statement, struct db_error *out);

#endif
