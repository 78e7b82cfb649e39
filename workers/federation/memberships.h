/* The resident side of joining, leaving and knocking: templates and their signed return. */
#ifndef MYELIN_FEDERATION_MEMBERSHIPS_H
#define MYELIN_FEDERATION_MEMBERSHIPS_H

#include "workers/federation/pdu_check.h"
#include "workers/federation/room_access.h"

/* A signed membership event of the asking server in the body: format, signature, and that it is what the path says. False: *answer.
 */
bool take_membership(struct call *call, const struct room_facts *room, const char *membership, struct checked_pdu *pdu,
                     struct reply *answer);
/* Persists it and passes it on to the room's other servers. False: *answer. */
bool accept_membership(struct call *call, const struct room_facts *room, struct event *event, struct reply *answer);

#endif
