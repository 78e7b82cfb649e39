/* May this server touch this room? The first step of every room endpoint of federation. */
#ifndef MYELIN_FEDERATION_ROOM_ACCESS_H
#define MYELIN_FEDERATION_ROOM_ACCESS_H

#include "lib/base/map.h"
#include "lib/store/room_read.h"

/* m.room.server_acl of the current state. */
enum fault acl_allows(struct call *call, int64_t room_nid, struct slice server, bool *allowed);

/* What one transaction needs to know of a room before it goes there: asked once, remembered in `seen` (room id → standing). */
struct room_standing {
    struct room_facts room;
    bool is_known, is_resident, is_allowed; /* heard of; we have members in it; the server may send to it (ACL) */
};
enum fault room_standing_get(struct call *call, struct map *seen, struct slice room_id, struct slice server,
                             const struct room_standing **out);

enum room_need {
    NEED_RESIDENT, /* we have members there: make_join and the like */
    NEED_MEMBER,   /* and so has the asking server: reads */
};
/* True: *room is filled. False: *answer (404 when we are not in it, 403 by ACL or when the asker is not). */
bool room_open(struct call *call, enum room_need need, struct room_facts *room, struct reply *answer);

/* M_INCOMPATIBLE_ROOM_VERSION, which says the version. */
struct reply room_incompatible(struct call *call, struct slice version);

#endif
