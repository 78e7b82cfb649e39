/* Stored state: reads chains of layers. Writing is `events`' business (workers/events/state_write.c). */
#ifndef MYELIN_STORE_STATE_SNAPSHOT_H
#define MYELIN_STORE_STATE_SNAPSHOT_H

#include "lib/kit/call.h"
#include "lib/store/state_map.h"

struct state_chain {
    int64_t snapshot_nid;
    struct state_layer *layers; /* top first */
    size_t count;
};
/* The chains of several snapshots in one trip; chains[i] belongs to nids.at[i]. Shared layers are decoded once. Nid 0 gives an
 * empty chain. NOT_FOUND when one is gone. */
enum fault state_chains_load(struct call *call, struct i64s nids, struct state_chain *chains);
enum fault state_snapshot_load(struct call *call, int64_t nid, struct state_map *out);
/* One value through a chain, without building the whole. */
int64_t state_chain_get(const struct state_chain *chain, int64_t state_key_nid);

/* Interned keys; 0 for a pair that no room has (then it is in no state). */
enum fault state_key_find(struct call *call, const struct slice *types, const struct slice *state_keys, size_t count,
                          int64_t *nids);

#endif
