/* Room aliases: ours from the table, others from their server. */
#ifndef MYELIN_ROOMS_ALIAS_H
#define MYELIN_ROOMS_ALIAS_H

#include "lib/store/room_read.h"

/* NOT_FOUND; servers: that are in the room. */
enum fault alias_resolve(struct call *call, struct slice alias, struct slice *room_id, struct slices *servers);
/* ALIAS_IN_USE when it is taken. The alias must be ours and valid. */
enum fault alias_insert(struct call *call, struct slice alias, struct slice room_id, struct slice creator);
/* Has the requester, a member, the power to set m.room.canonical_alias? */
enum fault alias_may_be_canonical(struct call *call, const struct room_facts *room, bool *may);

#endif
