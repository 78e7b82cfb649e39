/* What a destination is owed, read from the database (DESIGN §10: no row per event and destination). */
#ifndef MYELIN_SENDER_CATCH_UP_H
#define MYELIN_SENDER_CATCH_UP_H

#include "lib/kit/call.h"
#include "workers/sender/destination.h"

enum {
    OWED_ALL_MAX = 20000
}; /* 16 bytes each in memory; more: only the newest of each room, which lets the other side find the rest */

/* The next PDUs that are owed, into the flight and as JSON into pdus (TRANSACTION_PDUS_MAX places); none when nothing is owed. On a
 * fault nothing is lost: it is owed still. */
enum fault catch_up(struct call *call, struct destination *destination, struct flight *flight, struct slice *pdus, size_t *count);

#endif
