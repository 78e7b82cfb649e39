/* The requester joins a room or knocks on it, here or through its servers. */
#ifndef MYELIN_ROOMS_JOIN_H
#define MYELIN_ROOMS_JOIN_H

#include "lib/kit/call.h"

struct joined {
    struct slice room_id;
    struct slice event_id; /* absent when he was in already */
};
/* own: the content of PUT …/state/m.room.member, which goes over what we know of the user; else NULL. The body's "reason", and
 * "via" of the query, count in any case. False: *answer says why not. */
bool join(struct call *call, struct slice room_id_or_alias, const struct json *own, struct joined *out, struct reply *answer);
bool knock(struct call *call, struct slice room_id_or_alias, const struct json *own, struct joined *out, struct reply *answer);

#endif
