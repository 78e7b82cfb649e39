/* Read receipts: reading them for /sync, and storing them (Client-Server API "Receipts"). */
#ifndef MYELIN_SYNC_RECEIPTS_H
#define MYELIN_SYNC_RECEIPTS_H

#include "workers/sync/work.h"

struct receipts_read {
    struct sync_room **rooms;
    size_t count;
    struct db_result *result;
};
void receipts_ask(struct sync_work *work, struct receipts_read *receipts);
void receipts_take(struct sync_work *work, const struct receipts_read *receipts);

/* The content of m.receipt: {event id: {type: {user: data}}}. To be added in that order, unthreaded before threaded: of one
 * user's receipts for one event only the first has a place, and it should be the unthreaded one (MSC4102). */
struct receipts_writer {
    struct json_writer w;
    struct slice event_id, type, user_id;
};
void receipts_writer_begin(struct receipts_writer *content, struct arena *arena);
void receipts_writer_add(struct receipts_writer *content, struct slice event_id, struct slice type, struct slice user_id,
                         struct slice data);
struct slice receipts_writer_end(struct receipts_writer *content);

struct receipt {
    struct slice room_id, user_id, type, thread_id /* "" unthreaded */, event_id;
    struct slice data; /* JSON object */
};
enum { RECEIPTS_MAX = 1000 };
/* Stores them (one that is older than the stored one of its kind is dropped) and publishes them room by room. */
enum fault receipts_store(struct call *call, const struct receipt *receipts, size_t count);

#endif
