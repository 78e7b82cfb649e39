/* The joining side of make_join, make_leave and make_knock: the other server's template becomes our signed event. */
#ifndef MYELIN_FEDERATION_TEMPLATE_H
#define MYELIN_FEDERATION_TEMPLATE_H

#include "lib/matrix/event.h"
#include "workers/federation/peer.h"

struct membership_flow {
    const char *make, *send; /* "make_join", "/_matrix/federation/v2/send_join" */
    const char *membership;
    bool with_versions; /* ?ver=… of all we support */
    struct slice room_id, user_id;
    struct slice content; /* the user's: displayname and the like; may be absent */
    /* joins: once a server has been asked to accept the event, the flow has this long to end, whoever still waits for it; and its
     * answer is not parsed */
    int64_t finish_ms;
};
struct templated {
    struct slice server;
    const struct room_version *version;
    struct event *event;       /* signed */
    struct peer_answer answer; /* of send_… */
    struct slice unanswered;   /* a server that was sent the event and did not say what became of it; absent: none */
};
/* Tries the servers one after another. PEER_REFUSED: out->answer is the refusal to show. */
enum fault membership_through(struct call *call, const struct membership_flow *flow, struct slices servers, struct templated *out);
/* Signs an event's raw bytes as this server. */
enum fault event_sign(struct call *call, struct event *event);

#endif
