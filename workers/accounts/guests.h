/* Guests may be in rooms that let guests in, and nowhere else. */
#ifndef MYELIN_ACCOUNTS_GUESTS_H
#define MYELIN_ACCOUNTS_GUESTS_H

#include "lib/kit/worker.h"

/* Makes guests leave where m.room.guest_access does not say can_join (any more). room_id: absent for all rooms. */
void guests_turn_out(struct call *call, struct slice room_id);
/* Does that for a room whenever its guest_access changes. What a lost hint leaves is the sweep's. */
void guests_start(struct worker *worker);

#endif
