/* Rooms in memory (DESIGN §9): what a write needs to know of its room, so that the hot path reads nothing. Checked by the room's
 * version in each write batch, never trusted: after a CONFLICT the room is dropped and loaded anew. A room is used by one call at a
 * time within this process (its lane); the cache itself is shared by all threads. */
#ifndef MYELIN_EVENTS_HOT_ROOM_H
#define MYELIN_EVENTS_HOT_ROOM_H

#include "lib/base/map.h"
#include "lib/matrix/auth_rules.h"
#include "lib/store/state_snapshot.h"

/* The resolved current state; immutable, replaced as a whole when state changes. */
struct hot_state {
    struct state_map map;
    struct state_layer *layers; /* its stored chain, top first */
    size_t layer_count;
};

struct hot_room {
    const struct room_version *version;
    struct slice room_id;
    int64_t room_nid, db_version, depth, head_pos, tail_pos, snapshot_nid;
    int64_t *extremities; /* event nids */
    struct slice *extremity_ids;
    size_t extremity_count;
    struct hot_state *state;
    struct map *events;        /* nid (8 bytes as key) → struct event, parsed: state events that rules look at */
    struct arena *parsed;      /* what the events live in; emptied between calls only */
    struct auth_dag *auth_dag; /* NULL: nothing was resolved yet */
    struct map *servers;       /* server → joined members; NULL: not loaded */
    size_t bytes;
    int references; /* guarded by the cache's lock */
};

void hot_rooms_start(size_t cache_bytes);
/* The room from memory or the database; held until the call's arena ends. NOT_FOUND: never heard of. */
enum fault hot_room_get(struct call *call, struct slice room_id, struct hot_room **out);
void hot_room_drop(struct slice room_id); /* after a lost race */
/* A room that was just created by this call, before it is stored; held as above. */
struct hot_room *hot_room_new(struct call *call, int64_t room_nid, struct slice room_id, const struct room_version *version);
/* Puts it (back) with its present size: after a committed write, or what else made it larger. */
void hot_room_keep(struct hot_room *room);

/* The write is committed: the new heads and, when state changed, the new state. Copies. */
void hot_room_set_heads(struct hot_room *room, const int64_t *nids, const struct slice *event_ids, size_t count);
void hot_room_set_state(struct hot_room *room, struct state_map map, const struct state_layer *layers, size_t layer_count);

/* Parsed events of the room by nid, from memory or in one trip, in the order asked for; nid 0 gives NULL. They live as
 * long as the call has the room. All must be stored events of this very room. */
enum fault hot_room_events(struct call *call, struct hot_room *room, const int64_t *nids, size_t count, struct event **out);
/* The state events that needs name, NULL where there is none; from `state` (a map of this room), nids beside them (may be NULL). */
enum fault room_state_needed(struct call *call, struct hot_room *room, struct state_map state, const struct state_need *needs,
                             size_t count, struct event **out, int64_t *nids);
struct auth_dag *hot_room_auth_dag(struct hot_room *room);
/* Servers with joined members now. */
enum fault hot_room_servers(struct call *call, struct hot_room *room, struct slices *out);

#endif
