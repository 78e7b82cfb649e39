/* The requester leaves a room, or turns down an invite. */
#ifndef MYELIN_ROOMS_LEAVE_H
#define MYELIN_ROOMS_LEAVE_H

#include "lib/kit/call.h"

/* own as in join.h. *event_id: absent when he was out already, or when no server took the leave and the invite was dropped here. */
struct reply leave(struct call *call, const struct json *own, struct slice *event_id);

#endif
