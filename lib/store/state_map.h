/* State as sorted pairs of numbers, and its packed deltas (DESIGN §9). Pure; the database part is state_snapshot.h.
 *
 * A stored snapshot is a chain of layers: each row holds the changes against its base. When a snapshot is derived from another,
 * its changes first swallow every layer of the chain's top that is not at least twice as large. So layer sizes grow
 * geometrically downwards: reading touches O(log n) layers, and an entry is rewritten O(log n) times in its life
 * instead of once per snapshot. Unchanged state shares its snapshot. */
#ifndef MYELIN_STORE_STATE_MAP_H
#define MYELIN_STORE_STATE_MAP_H

#include "lib/base/arena.h"

struct state_pair {
    int64_t key;   /* state_key_nid */
    int64_t event; /* event_nid; 0 in a delta: removed */
};
struct state_map {
    const struct state_pair *pairs; /* ascending by key */
    size_t count;
};

int64_t state_map_get(struct state_map map, int64_t key); /* event_nid, 0 when there is none */
/* base with changes applied: changes win, event 0 removes. */
struct state_map state_map_apply(struct arena *arena, struct state_map base, struct state_map changes);
/* Merges an upper delta over a lower one, keeping removals. */
struct state_map state_delta_merge(struct arena *arena, struct state_map lower, struct state_map upper);
/* Equal maps that came from one place share their pairs, and that is seen without reading them. */
bool state_maps_equal(struct state_map a, struct state_map b);
/* How many pairs the delta between them has. */
size_t state_map_distance(struct state_map from, struct state_map to);
/* The delta that turns `from` into `to`. */
struct state_map state_map_diff(struct arena *arena, struct state_map from, struct state_map to);
/* Sorts by key; of equal keys the last stays. */
struct state_map state_map_from(struct arena *arena, const struct state_pair *pairs, size_t count);

struct slice state_delta_encode(struct arena *arena, struct state_map delta);
/* False when the bytes are not a delta (a damaged row): nothing is returned then. */
bool state_delta_decode(struct arena *arena, struct slice bytes, struct state_map *out);

/* One stored layer of a chain. */
struct state_layer {
    int64_t snapshot_nid, base_nid;
    struct state_map delta;
    size_t bytes; /* of the encoded delta */
};
/* chain: the layers of the parent, top first, down to base_nid 0 (none for an empty parent). */
struct state_map state_chain_read(struct arena *arena, const struct state_layer *chain, size_t count);
/* The row to write for parent + changes: *base_nid, *layers_below and the delta. */
struct state_map state_chain_push(struct arena *arena, const struct state_layer *chain, size_t count, struct state_map changes,
                                  int64_t *base_nid, int *layers_below);

#endif
