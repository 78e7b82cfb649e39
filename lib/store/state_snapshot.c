/* Chains of stored layers; see state_snapshot.h. */
#include "lib/store/state_snapshot.h"

#include "lib/base/ensure.h"
#include "lib/store/queries.h"

static const struct state_layer *layer_find(const struct state_layer *layers, size_t count, int64_t nid)
{
    for (size_t i = 0; i < count; i++)
        if (layers[i].snapshot_nid == nid)
            return &layers[i];
    return NULL;
}

enum fault state_chains_load(struct call *call, struct i64s nids, struct state_chain *chains)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_state_layers(batch, nids);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    size_t room = (size_t)db_affected(result), count = 0;
    struct state_layer *layers = arena_new_array(call->arena, room, struct state_layer);
    struct state_layers_row row;
    while (count < room && state_layers_next(result, &row)) {
        struct state_layer *layer = &layers[count++];
        *layer = (struct state_layer){.snapshot_nid = row.snapshot_nid, .base_nid = row.base_nid, .bytes = row.delta.len};
        ensure(state_delta_decode(call->arena, row.delta, &layer->delta));
    }
    for (size_t i = 0; i < nids.len; i++) {
        chains[i] = (struct state_chain){nids.at[i], arena_new_array(call->arena, count, struct state_layer), 0};
        for (int64_t nid = nids.at[i]; nid != 0;) {
            const struct state_layer *layer = layer_find(layers, count, nid);
            if (!layer)
                return FAULT_NOT_FOUND;
            chains[i].layers[chains[i].count++] = *layer;
            nid = layer->base_nid;
        }
    }
    return FAULT_OK;
}

enum fault state_snapshot_load(struct call *call, int64_t nid, struct state_map *out)
{
    struct state_chain chain;
    enum fault fault = state_chains_load(call, (struct i64s){&nid, 1}, &chain);
    if (fault)
        return fault;
    *out = state_chain_read(call->arena, chain.layers, chain.count);
    return FAULT_OK;
}

int64_t state_chain_get(const struct state_chain *chain, int64_t state_key_nid)
{
    for (size_t i = 0; i < chain->count; i++) {
        struct state_map delta = chain->layers[i].delta;
        size_t low = 0, high = delta.count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (delta.pairs[middle].key < state_key_nid)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < delta.count && delta.pairs[low].key == state_key_nid)
            return delta.pairs[low].event;
    }
    return 0;
}

enum fault state_key_find(struct call *call, const struct slice *types, const struct slice *state_keys, size_t count, int64_t *nids)
{
    memset(nids, 0, count * sizeof *nids);
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_state_key_nids(batch, (struct slices){types, count}, (struct slices){state_keys, count});
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    struct state_key_nids_row row;
    while (state_key_nids_next(result, &row)) {
        ensure(row.ordinal >= 1 && (size_t)row.ordinal <= count);
        nids[row.ordinal - 1] = row.state_key_nid;
    }
    return FAULT_OK;
}
