/* Policy servers (Server-Server API "Policy Servers"): a room may name a server that recommends events for inclusion, by signing
 * them. One step for events of ours, before they are sent, and for those that come, after all other checks. */
#ifndef MYELIN_STORE_POLICY_H
#define MYELIN_STORE_POLICY_H

#include "lib/kit/call.h"
#include "lib/matrix/event.h"

struct room_policy {
    struct slice via;        /* absent: the room uses none */
    struct slice public_key; /* 32 bytes */
};
/* What an m.room.policy event says (NULL: there is none); via absent when it is not valid. The caller looks whether `via` has a
 * joined member: without one the room uses no policy server. */
struct room_policy room_policy_read(struct arena *arena, const struct json *content);
/* Of the current state, with that look. */
enum fault room_policy_find(struct call *call, int64_t room_nid, struct room_policy *out);

/* Is the event recommended? By the signature it has, or one that the policy server gives now, which event->raw has then. OK;
 * FORBIDDEN: it is not, and call->why says what the server said; UNAVAILABLE, DEADLINE: trouble of ours. A policy server that
 * cannot be reached recommends nothing. */
enum fault room_policy_check(struct call *call, const struct room_policy *policy, struct event *event);

#endif
