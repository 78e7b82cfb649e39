/* Invites that are taken back: the leave event comes by /send for a room that we are not in, so nobody can judge it by the room's
 * state. It counts when who invited takes back, and nobody else does (his is the only word we have of the room). */
#ifndef MYELIN_FEDERATION_WITHDRAWN_H
#define MYELIN_FEDERATION_WITHDRAWN_H

#include "lib/store/room_read.h"
#include "workers/federation/pdu_check.h"

/* Is this the end of an invite or knock of a user of ours, by who may end it? Looks at json only; signatures are checked later. */
enum fault is_withdrawal(struct call *call, const struct room_facts *room, const struct json *json, bool *is);
enum fault accept_withdrawal(struct call *call, const struct room_facts *room, const struct event *event);

#endif
