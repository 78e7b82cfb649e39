/* Telling PostgreSQL to stop what it does for a connection that we leave (private to lib/kit/db*.c). */
#ifndef MYELIN_KIT_DB_CANCEL_H
#define MYELIN_KIT_DB_CANCEL_H

#include <libpq-fe.h>

/* Does not block. Takes the request over; it is sent soon, or dropped when too many wait. */
void db_cancel_later(PGcancel *cancel);

#endif
