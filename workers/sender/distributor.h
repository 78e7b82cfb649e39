/* Hands each local event to the destinations of the slots we own, exactly once as long as nothing breaks and at least once whatever
 * breaks.
 *
 * Hints are the fast way: an event is on the wire a moment after its commit. The database is the sure way: every second the local
 * events since the last look are compared with what hints told; servers of those not told of owe them. scan_pos: everything below
 * it was handed over. distributed_pos of a slot, in the table: everything below it was delivered, or is covered by a saved
 * owed_pos. A new owner of a slot lets every server with events since then owe from there. */
#ifndef MYELIN_SENDER_DISTRIBUTOR_H
#define MYELIN_SENDER_DISTRIBUTOR_H

#include "lib/kit/worker.h"

enum fault distributor_start(struct worker *worker);
void distributor_stop(void);   /* before the pool's stop: nothing new is handed over */
void distributor_finish(void); /* after it: writes the last distributed_pos */
bool distributor_owns(
    int slot); /* under the destinations' lock: its destinations are ours to serve, and what they are owed is known */

#endif
