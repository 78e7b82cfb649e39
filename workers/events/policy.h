/* The policy server's part in sending: it is asked before an event of ours goes anywhere (lib/store/policy.h). */
#ifndef MYELIN_EVENTS_POLICY_H
#define MYELIN_EVENTS_POLICY_H

#include "workers/events/room_write.h"

/* Signed events about to be written; the policy server's signature is added to each. FORBIDDEN with *why: it does not recommend
 * one. The room waits for the answer: whoever wants a policy server wants that. */
enum fault policy_sign(struct call *call, struct hot_room *room, struct event **events, size_t count, const char **why);

#endif
