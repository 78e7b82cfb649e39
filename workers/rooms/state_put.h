/* PUT …/state of those types that take more than the room's rules: the write itself, when all else is done. */
#ifndef MYELIN_ROOMS_STATE_PUT_H
#define MYELIN_ROOMS_STATE_PUT_H

#include "lib/kit/call.h"

/* The answer: {"event_id"}. The content that stands already makes no new event. */
struct reply state_put(struct call *call, const char *type, struct slice state_key, struct slice content);
struct reply event_id_reply(struct call *call, struct slice event_id);

#endif
