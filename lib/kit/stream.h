/* Stream hints after commit, and positions (DESIGN §5, §8). A hint carries its payload, so that listeners need no database; a lost
 * one delays and never loses: per-publisher sequence numbers reveal a gap, and the listener reads the database from its position.
 */
#ifndef MYELIN_KIT_STREAM_H
#define MYELIN_KIT_STREAM_H

#include "lib/kit/call.h"

enum stream_kind {
#define STREAM(name, id, what) STREAM_##name = id,
#include "proto/stream.def"
#undef STREAM
};

/* After the commit that wrote the rows: reads nothing itself. pos: the rows' transaction; horizon: read after commit (every kind's
 * write batch ends with a `horizon` statement run after it), 0 when not known. payload may be absent. Any handler thread. */
void stream_publish(struct worker *worker, enum stream_kind kind, struct slice key, int64_t pos, int64_t horizon,
                    struct slice payload);

/* It is not known whether something was committed that should have been published (the answer to a commit did not come): every
 * listener is made to see a gap of this publisher, now, and again when what may still be on its way in PostgreSQL has had three
 * seconds to end, counted from when PostgreSQL answers (again). Any thread. The kit calls it for each write of a publisher's that
 * ends so, whichever handler makes it (db_pool_on_doubt); other code need not. A publisher that is gone is doubted by its
 * listeners: they see a gap when it leaves the registry, and another one three seconds later. */
void stream_doubt(struct worker *worker);

struct stream_hint {
    enum stream_kind kind;
    enum service publisher_kind;
    struct slice key, payload; /* valid during the callback */
    int64_t pos, horizon;
};
/* Subscribes this process; the callback runs on the link thread: quick, no blocking. Before worker_run. `gap`: hints of a publisher
 * were lost (or a publisher is new); hint is NULL then: read the database from the last known position. */
typedef void stream_listener(struct worker *worker, const struct stream_hint *hint, bool gap, void *context);
void stream_listen(struct worker *worker, enum service publisher_kind, stream_listener *listener, void *context);
/* Wakes calls of this process parked on the topic. Any thread. Listeners call it; the kit itself wakes nothing. */
void stream_wake(struct worker *worker, struct slice topic);
void stream_wake_all(struct worker *worker); /* after a gap */

/* The payload of STREAM_event. Packed with msgpack; fields only appended. */
struct stream_event {
    struct slice room_id, event_id, type, state_key /* absent: message event */, sender;
    int64_t event_nid, room_nid, room_pos, depth, origin_server_ts;
    struct slice json;              /* canonical PDU */
    struct slice device_id, txn_id; /* of a local send; absent otherwise */
    bool soft_failed, outlier, state_changed /* it is the current state of its key now */;
    bool local;                                   /* sent by a user of ours: the sender queues it */
    struct slices destinations;                   /* servers to send it to: joined ones and the target's; only for local events */
    struct slice membership, previous_membership; /* m.room.member only */
};
struct slice stream_event_pack(struct arena *arena, const struct stream_event *event);
bool stream_event_unpack(struct arena *arena, struct slice payload, struct stream_event *out);

#endif
