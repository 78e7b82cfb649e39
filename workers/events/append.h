/* Appending our own users' events to a room: the one way in for room_append, send, state and redact. */
#ifndef MYELIN_EVENTS_APPEND_H
#define MYELIN_EVENTS_APPEND_H

#include "workers/events/room_write.h"

struct append {
    struct slice room_id;
    const struct event_draft *drafts;
    size_t count;
    struct client_txn txn;
    bool skip_unchanged_state; /* PUT state with the content that stands already: answers the standing event */
};
struct appended {
    struct slice *event_ids;
    int64_t *room_pos; /* 0 for the answer of an earlier equal call */
    const char *why;   /* REJECTED: the rule */
};
enum fault room_append_drafts(struct call *call, const struct append *append, struct appended *out);

#endif
