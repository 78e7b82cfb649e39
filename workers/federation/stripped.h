/* The state that goes with invites and knocks. Servers give each other whole events; clients are shown the stripped form of them
 * (sync/invites.c). */
#ifndef MYELIN_FEDERATION_STRIPPED_H
#define MYELIN_FEDERATION_STRIPPED_H

#include "lib/store/room_read.h"

/* A JSON array of PDUs, m.room.create among them: "All events listed MUST additionally be formatted according to the room version".
 */
enum fault stripped_state(struct call *call, const struct room_facts *room, struct slice *out);
/* What came with an invite (list may be NULL). *why: not acceptable, as "PUT /invite" has it: from version 12 on the create event
 * must be there, and every event well formed, signed, and of this room. Entries in the older, bare form are let pass there too:
 * servers of today still send them besides the create event, and they say no more than in the rooms before. */
enum fault stripped_check(struct call *call, const struct room_version *version, struct slice room_id, const struct json *list,
                          const char **why);

#endif
