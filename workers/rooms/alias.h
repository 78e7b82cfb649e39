/* Room aliases: ours from the table, others from their server. */
#ifndef MYELIN_ROOMS_ALIAS_H
#define MYELIN_ROOMS_ALIAS_H

#include "lib/kit/call.h"

/* NOT_FOUND; servers: that are in the room. */
enum fault alias_resolve(struct call *call, struct slice alias, struct slice *room_id, struct slices *servers);
/* ALIAS_IN_USE when it is taken. The alias must be ours and valid. */
enum fault alias_insert(struct call *call, struct slice alias, struct slice room_id, struct slice creator);

#endif
