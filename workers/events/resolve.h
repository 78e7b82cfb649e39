/* The state of a room where its DAG has several ends: loads what state resolution (lib/matrix/state_res.h) must see. */
#ifndef MYELIN_EVENTS_RESOLVE_H
#define MYELIN_EVENTS_RESOLVE_H

#include "workers/events/room_write.h"

/* Resolves the sets into one map; equal sets cost nothing. All their events are stored, except those of the write in hand. */
enum fault resolve_states(struct room_write *write, const struct state_map *sets, size_t count, struct state_map *out);

/* What stands after an event: its state before, and itself when it is state and was not rejected. */
struct after_state {
    int64_t event_nid, snapshot_nid, state_key_nid /* 0: message */;
    bool rejected;
    struct stored_state before;
    struct state_map map;
};
/* Loads the chains of all in one trip and computes the maps; entries whose before.snapshot_nid is set are taken as they are. */
enum fault after_states_load(struct room_write *write, struct after_state *states, size_t count);

#endif
