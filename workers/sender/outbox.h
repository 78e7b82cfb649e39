/* EDUs that must arrive: table outgoing_edu. */
#ifndef MYELIN_SENDER_OUTBOX_H
#define MYELIN_SENDER_OUTBOX_H

#include "lib/kit/call.h"

/* Finds what other workers stored, and whom they heard of, for destinations of these slots. */
enum fault outbox_sweep(struct call *call, uint64_t slots);
enum fault outbox_expire(struct call *call); /* what is too old to matter */

#endif
