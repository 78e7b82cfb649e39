/* May this server touch this room? The first step of every room endpoint of federation. */
#ifndef MYELIN_FEDERATION_ROOM_ACCESS_H
#define MYELIN_FEDERATION_ROOM_ACCESS_H

#include "lib/store/room_read.h"

/* m.room.server_acl of the current state. */
enum fault acl_allows(struct call *call, int64_t room_nid, struct slice server, bool *allowed);

enum room_need {
    NEED_RESIDENT, /* we have members there: make_join and the like */
    NEED_MEMBER,   /* and so has the asking server: reads */
};
/* True: *room is filled. False: *answer (404 when we are not in it, 403 by ACL or when the asker is not). */
bool room_open(struct call *call, enum room_need need, struct room_facts *room, struct reply *answer);

#endif
