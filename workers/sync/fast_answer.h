/* Inside the fast path: what was found in memory, and the answer made of it. */
#ifndef MYELIN_SYNC_FAST_ANSWER_H
#define MYELIN_SYNC_FAST_ANSWER_H

#include "workers/sync/readers.h"
#include "workers/sync/receipts.h"
#include "workers/sync/ring.h"

enum { TYPING_MAX = 64, TOLD_MAX = RING_FOUND_MAX + TYPING_MAX };

/* One room's part of the answer. */
struct told_room {
    struct slice room_id;
    struct reader_room counts;
    struct ring_entry *events[RING_FOUND_MAX]; /* by place */
    size_t event_count, receipt_count;
    struct receipt *receipts;
    struct slice typing;
};

/* What is taken out of the reader under its lock. */
struct fast_view {
    struct sync_token base;
    int64_t running[TOKEN_RUNNING_MAX], delivered[TOKEN_DELIVERED_MAX];
    struct ring_found found;
    char *typing[TYPING_MAX];
    size_t typing_count;
    struct reader_room counts[RING_FOUND_MAX], typing_counts[TYPING_MAX]; /* of each one's room */
    char *topics, *one_time_keys, *fallback_keys;
    size_t topics_bytes, topic_count;
    uint64_t *ignored;
    size_t ignored_count;
    int64_t serial;
};

struct telling {
    struct call *call;
    const struct sync_request *request;
    struct fast_view *view;
    struct told_room **rooms;
    size_t count;
};

/* Sorts what the view found into rooms. False: not sure after all. */
bool telling_sort(struct telling *telling);
bool told_room_is_told(const struct told_room *room);
struct slice telling_write(struct telling *telling, struct slice token);

#endif
