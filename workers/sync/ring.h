/* What was heard lately, in the order of arrival: a log bounded in bytes, and beside it who should look into the database. Heard is
 * counted: a reader who knows everything up to n needs only what came after n, unless some of it fell out or was never heard. */
#ifndef MYELIN_SYNC_RING_H
#define MYELIN_SYNC_RING_H

#include "lib/kit/stream.h"
#include "workers/sync/token.h"

enum ring_kind {
    RING_EVENT,   /* a plain message of a user of ours */
    RING_RECEIPT, /* payload: array of {event_id, type, user_id, data} */
    RING_ODD,     /* something else happened in the room: look into the database */
};

struct ring_entry {
    struct ring_entry *newer, *older; /* in the log */
    struct ring_entry *older_in_room;
    int64_t older_heard; /* of older_in_room, which may be gone */
    struct ring_room *room;
    int64_t heard, pos, event_nid, room_pos, origin_server_ts;
    size_t bytes;
    int refs; /* the log's and readers' */
    enum ring_kind kind;
    /* The texts follow the entry in its block; absent ones are absent. */
    struct slice room_id, event_id, type, sender, device_id, txn_id, payload;
};

void ring_start(size_t limit_bytes);
void ring_stop(void);

/* ---- hints, on the link thread */
void ring_hear_event(const struct stream_event *event, int64_t pos);
void ring_hear_receipts(struct slice room_id, struct slice payload, int64_t pos);
void ring_hear_odd(struct slice room_id, int64_t pos); /* pos 0: no transaction of its own. Any thread */
void ring_hear_user(struct slice user_id, int64_t pos);
void ring_hear_gap(void);

/* ---- readers */
int64_t ring_heard(void);

struct ring_question {
    struct slice user_id;
    const struct sync_token *base; /* what the reader has seen */
    int64_t after;                 /* heard */
    const struct map *rooms;       /* keys: room ids he is in */
};
enum { RING_FOUND_MAX = 256 };
struct ring_found {
    struct ring_entry *entries[RING_FOUND_MAX]; /* oldest first; to be let go */
    size_t count;
    int64_t heard; /* the answer is good up to it */
};
/* False: cannot tell; nothing is held then. */
bool ring_ask(const struct ring_question *question, struct ring_found *found);
void ring_let_go(struct ring_found *found);

#endif
