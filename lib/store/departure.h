/* Going from a room that one was in. Who departed goes on seeing the room as it was then; who only was invited, knocked, or was
 * banned without ever coming in never departed and sees nothing by it (Client-Server API "Getting events for a room"). */
#ifndef MYELIN_STORE_DEPARTURE_H
#define MYELIN_STORE_DEPARTURE_H

#include "lib/store/event_row.h"

/* last: a user's newest membership event in its room. *out: the leave or ban that ended his last time in it; where he was turned
 * away since (kicked, then banned; invited again, declined), the end lies further back. NOT_FOUND: he is in, or never was. */
enum fault departure_find(struct call *call, int64_t last_nid, struct event_row *out);
/* The state that he sees: the one before the departure, and the departure. */
enum fault departure_state(struct call *call, const struct event_row *departure, struct i64s *nids);

#endif
