/* Writing one m.room.member event through `events`, and the small things that all membership endpoints share. */
#ifndef MYELIN_ROOMS_MEMBER_WRITE_H
#define MYELIN_ROOMS_MEMBER_WRITE_H

#include "lib/store/room_read.h"

/* {"membership":…, "displayname", "avatar_url" of a local user's profile, "reason"?, join_authorised_via_users_server?}. reason,
 * authorised_via: absent when there is none. */
enum fault member_content(struct call *call, const char *membership, struct slice user_id, struct slice reason,
                          struct slice authorised_via, bool is_direct, struct slice *out);
/* The same with the user's own content over it, without join_authorised_via_users_server: who vouches is the servers' business.
 * own may be NULL. */
struct slice member_content_own(struct call *call, struct slice content, const struct json *own);
/* Appends it. REJECTED with call->why. */
enum fault member_append(struct call *call, struct slice room_id, struct slice sender, struct slice target, struct slice content,
                         struct slice *event_id);
/* The answer for a fault of the above: FORBIDDEN with the rule's name. */
struct reply member_fail(struct call *call, enum fault fault);
/* "reason" of the body. False: it is not a string. */
bool body_reason(struct call *call, struct slice *reason);
/* Are any of our users joined? Otherwise the room must be reached through other servers. */
enum fault room_is_ours(struct call *call, struct slice room_id, struct room_facts *room, bool *ours);

#endif
