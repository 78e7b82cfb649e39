/* One write batch of a room: any number of events, their snapshots, the new heads and the new current state, in one pipelined
 * transaction that starts with the version check (DESIGN §7, §9), then the hints on the stream.
 * The order of use: room_write_begin, room_write_add for each event oldest first, room_write_commit. Everything is in the call's
 * arena. */
#ifndef MYELIN_EVENTS_ROOM_WRITE_H
#define MYELIN_EVENTS_ROOM_WRITE_H

#include "workers/events/hot_room.h"

/* A state with its stored chain: what the next snapshot is derived from. */
struct stored_state {
    struct state_map map;
    const struct state_layer *layers;
    size_t layer_count;
    int64_t snapshot_nid; /* 0: empty or not stored */
};

struct pending_event {
    struct event *event;
    int64_t nid;
    int64_t room_pos;      /* DB_NULL_I64 for outliers */
    int64_t flags;         /* enum event_flag */
    int64_t state_key_nid; /* 0: message event */
    int64_t snapshot_nid;  /* state before it */
    int64_t replaces_nid;  /* 0: none */
    struct i64s prev_nids, auth_nids;
    struct slices missing_prev; /* event ids that we do not have */
    struct slices destinations; /* local events: servers besides the room's */
    bool was_outlier;           /* it is stored already and gets its place now */
    bool is_current;            /* state: the current event of its key after this batch */
};

struct new_snapshot {
    int64_t nid, base_nid;
    int layers_below;
    size_t entries;
    struct slice delta;
};

/* What makes a client's send idempotent: "the transaction ID is the same as a previous request, and the path of the HTTP request is
 * the same" (Client-Server API "Transaction identifiers"). Absent id: nothing does. */
struct client_txn {
    struct slice user, device, scope /* what of the path is not the room */, id;
};

struct room_write {
    struct call *call;
    struct hot_room *room;
    bool is_new_room;
    struct pending_event *events;
    size_t count, capacity;
    struct new_snapshot *snapshots;
    size_t snapshot_count, snapshot_capacity;
    /* after the batch */
    int64_t *head_nids;
    struct slice *head_ids;
    size_t head_count;
    int64_t depth, head_pos, tail_pos;
    struct stored_state state; /* the current one */
    struct state_map rows;     /* imports: what the rows of current_state and membership show already; else the room's state */
    bool rows_are_ahead;       /* rows is set */
    struct client_txn txn;
    struct reset_evidence *reset;     /* reset_guard.h; NULL: nothing suspicious */
    struct redaction_effect *effects; /* redactions.h */
    size_t effect_count;
    int64_t pos, horizon; /* after commit: the transaction, and the horizon behind it */
};

void room_write_begin(struct room_write *write, struct call *call, struct hot_room *room, size_t capacity);
struct stored_state hot_room_state(const struct hot_room *room);

/* state plus changes as a stored state: shares the snapshot when nothing changes, else adds a snapshot row to the write. */
enum fault room_write_derive(struct room_write *write, const struct stored_state *parent, struct state_map changes,
                             struct stored_state *out);

/* Adds an event whose prev events are exactly the heads so far and whose state before is write->state: local sends, and remote ones
 * on a quiet room. Gives nid, room_pos, snapshot; advances heads, depth and (for state) write->state. */
enum fault room_write_append(struct room_write *write, struct pending_event pending);
/* Adds an event with everything set by the caller but nid (when 0). Heads, depth, state and positions are the caller's business. */
enum fault room_write_add(struct room_write *write, struct pending_event pending);
void room_write_set_heads(struct room_write *write, const int64_t *nids, const struct slice *ids, size_t count);

/* CONFLICT: somebody else wrote; the hot room was dropped, do the whole again. */
enum fault room_write_commit(struct room_write *write);

#endif
