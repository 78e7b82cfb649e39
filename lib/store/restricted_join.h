/* Restricted rooms (room version 8 and later; Client-Server API "Restricted rooms"): may this user join by being a member of an
 * allowed room, and which of our users vouches for it in join_authorised_via_users_server? */
#ifndef MYELIN_STORE_RESTRICTED_JOIN_H
#define MYELIN_STORE_RESTRICTED_JOIN_H

#include "lib/store/room_read.h"

struct restricted_join {
    bool restricted;      /* the rule applies: the room is restricted and the user neither joined nor invited */
    struct slice voucher; /* absent unless restricted and granted */
    enum fault fault;     /* OK; FORBIDDEN: no member of any allowed room; UNABLE_TO_AUTHORISE_JOIN: of none that we know, and
                             there are others; UNABLE_TO_GRANT_JOIN: nobody of ours has the power */
};
enum fault restricted_join_authorise(struct call *call, const struct room_facts *room, struct slice user_id,
                                     struct restricted_join *out);

#endif
