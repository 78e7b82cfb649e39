/* The answer of send_join as small records: tens of megabytes of events, of which only spans, ids and references are kept. */
#ifndef MYELIN_FEDERATION_JOIN_ANSWER_H
#define MYELIN_FEDERATION_JOIN_ANSWER_H

#include "lib/kit/call.h"
#include "lib/matrix/event.h"

struct join_pdu {
    struct slice text; /* as received, within the answer's body */
    bool is_state, is_left_out /* not an event, a double, or authorised in a circle */;
    uint8_t auth_count;
    uint32_t auth[AUTH_EVENTS_MAX]; /* numbers of ids */
    /* once stored by `events` */
    int64_t result, event_nid, state_key_nid;
};

struct join_answer {
    struct slice event; /* the join as the other server returned it; absent if it did not */
    struct join_pdu *pdus;
    size_t count;
    uint32_t *order; /* of those not left out: auth events before what they authorise */
    size_t order_count;
    size_t create;   /* index of the room's create event; count: there is none */
    struct map *ids; /* event id → number */
    int64_t *pdu_of; /* number → index in pdus, or -1: named only */
};

/* PEER with call->why when it is no answer. The body must outlive *out. */
enum fault join_answer_read(struct call *call, const struct room_version *version, struct slice room_id, struct slice body,
                            struct join_answer *out);
/* Ids of the state events that are stored and not rejected. */
struct slices join_answer_state_ids(struct call *call, const struct join_answer *answer);

#endif
