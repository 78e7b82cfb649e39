/* The threads that talk to other servers, one destination each at a time. They are many (most of their time they wait for somebody
 * else's server), small, and made when they are needed. Destinations that fail, and those that have not answered yet since we know
 * of them, may only take a part of them each, so that servers which swallow our packets cannot hold up those that answer. */
#ifndef MYELIN_SENDER_POOL_H
#define MYELIN_SENDER_POOL_H

#include "lib/kit/worker.h"
#include "workers/sender/destination.h"

void pool_start(struct worker *worker, void (*deliver)(struct call *call, struct destination *destination));
void pool_stop(void); /* waits for transactions that are on their way */
/* Under the destinations' lock: if it has work and may be talked to now, a thread will. Cheap. */
void pool_poke(struct destination *destination);

#endif
