/* Ephemeral units to the servers of a room. They are queued in memory of the sender: what gets lost is replaced by the next. */
#ifndef MYELIN_SYNC_EDUS_H
#define MYELIN_SYNC_EDUS_H

#include "lib/kit/call.h"

/* FORBIDDEN: the asking user is not joined, or there is no such room. */
enum fault room_joined(struct call *call, struct slice room_id, int64_t *room_nid);
void edus_to_room(struct call *call, int64_t room_nid, struct slice type, struct slice coalesce_key, struct slice content);

#endif
