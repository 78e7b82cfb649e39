/* One step of a destination: make the next transaction, send it, draw the consequences. */
#ifndef MYELIN_SENDER_DELIVERY_H
#define MYELIN_SENDER_DELIVERY_H

#include "lib/kit/call.h"
#include "workers/sender/destination.h"

void delivery_start(struct worker *worker);
void delivery_step(struct call *call, struct destination *destination); /* on a thread of the pool; without the lock */

#endif
