/* Loading for state resolution; see resolve.h. */
#include "workers/events/resolve.h"

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/metrics.h"
#include "lib/matrix/state_res.h"
#include "lib/store/event_row.h"
#include "workers/events/queries.h"
#include "workers/events/state_keys.h"

enum fault after_states_load(struct call *call, struct after_state *states, size_t count)
{
    int64_t *nids = arena_new_array(call->arena, count, int64_t);
    struct state_chain *chains = arena_new_array(call->arena, count, struct state_chain);
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++)
        if (states[i].before.snapshot_nid == 0)
            nids[wanted++] = states[i].snapshot_nid;
    enum fault fault = wanted ? state_chains_load(call, (struct i64s){nids, wanted}, chains) : FAULT_OK;
    if (fault)
        return fault;
    for (size_t i = 0, loaded = 0; i < count; i++) {
        struct after_state *state = &states[i];
        if (state->before.snapshot_nid == 0) {
            const struct state_chain *chain = &chains[loaded++];
            state->before = (struct stored_state){state_chain_read(call->arena, chain->layers, chain->count), chain->layers,
                                                  chain->count, chain->snapshot_nid};
        }
        struct state_pair own = {state->state_key_nid, state->event_nid};
        state->map = own.key && !state->rejected ? state_map_apply(call->arena, state->before.map, (struct state_map){&own, 1})
                                                 : state->before.map;
    }
    return FAULT_OK;
}

/* The auth DAG below the sets, as the pure code wants it: nodes with indices instead of nids. */
struct graph {
    struct map *index_of; /* nid → index */
    int64_t *nids;        /* by index */
    struct auth_graph graph;
};

static struct slice nid_key(const int64_t *nid)
{
    return slice_of(nid, sizeof *nid);
}

static const struct pending_event *pending_of(const struct room_write *write, int64_t nid)
{
    for (size_t i = 0; i < write->count; i++)
        if (write->events[i].nid == nid)
            return &write->events[i];
    return NULL;
}

/* The roots: every event of every set; those of the write in hand stand for their auth events. */
static struct i64s graph_roots(struct room_write *write, const struct state_map *sets, size_t count)
{
    struct arena *arena = write->call->arena;
    struct map *seen = map_create(arena);
    size_t room = 0, filled = 0;
    for (size_t i = 0; i < count; i++)
        room += sets[i].count;
    int64_t *roots = arena_new_array(arena, room + write->count * AUTH_EVENTS_MAX * 2, int64_t);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < sets[i].count; k++)
            if (map_put_i64(seen, nid_key(&sets[i].pairs[k].event), 1) && !pending_of(write, sets[i].pairs[k].event))
                roots[filled++] = sets[i].pairs[k].event;
    for (size_t i = 0; i < write->count; i++)
        for (size_t k = 0; k < write->events[i].auth_nids.len && k < AUTH_EVENTS_MAX * 2; k++)
            if (!pending_of(write, write->events[i].auth_nids.at[k]))
                roots[filled++] = write->events[i].auth_nids.at[k];
    return (struct i64s){roots, filled};
}

/* Auth-chain events in none of the sets may enter the result: they need their interned key. */
static enum fault keys_fill(struct call *call, struct auth_graph_node *nodes, size_t count)
{
    struct slice *types = arena_new_array(call->arena, count, struct slice),
                 *keys = arena_new_array(call->arena, count, struct slice);
    int64_t *nids = arena_new_array(call->arena, count, int64_t);
    size_t *owners = arena_new_array(call->arena, count, size_t), state_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!event_is_state(nodes[i].event))
            continue;
        types[state_count] = nodes[i].event->type;
        keys[state_count] = nodes[i].event->state_key;
        owners[state_count++] = i;
    }
    enum fault fault = state_keys_intern(call, types, keys, state_count, nids);
    for (size_t i = 0; !fault && i < state_count; i++)
        nodes[owners[i]].key = nids[i];
    return fault;
}

static enum fault graph_load(struct room_write *write, const struct state_map *sets, size_t count, struct graph *out)
{
    struct arena *arena = write->call->arena;
    struct db_batch *batch = call_batch(write->call);
    struct db_result *result = q_auth_chain(batch, graph_roots(write, sets, count));
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    size_t room = (size_t)db_affected(result) + write->count;
    struct auth_graph_node *nodes = arena_new_array(arena, room, struct auth_graph_node);
    struct i64s *auth = arena_new_array(arena, room, struct i64s);
    out->index_of = map_create(arena);
    out->nids = arena_new_array(arena, room, int64_t);
    size_t filled = 0;
    struct auth_chain_row row;
    while (filled < room && auth_chain_next(result, &row)) {
        ensure(event_parse_history(arena, write->room->version, row.json, &nodes[filled].event, NULL) == FAULT_OK);
        nodes[filled].event->rejected = row.flags & EVENT_REJECTED;
        auth[filled] = row.auth_nids;
        out->nids[filled++] = row.event_nid;
    }
    for (size_t i = 0; i < write->count; i++) {
        nodes[filled].event = write->events[i].event;
        auth[filled] = write->events[i].auth_nids;
        out->nids[filled++] = write->events[i].nid;
    }
    if ((fault = keys_fill(write->call, nodes, filled)))
        return fault;
    for (size_t i = 0; i < filled; i++)
        map_put_i64(out->index_of, nid_key(&out->nids[i]), (int64_t)i);
    for (size_t i = 0; i < filled; i++) {
        uint32_t *indices = arena_new_array(arena, auth[i].len, uint32_t);
        for (size_t k = 0; k < auth[i].len; k++) {
            int64_t index;
            if (map_get_i64(out->index_of, nid_key(&auth[i].at[k]), &index))
                indices[nodes[i].auth_count++] = (uint32_t)index;
        }
        nodes[i].auth = indices;
    }
    out->graph = (struct auth_graph){nodes, (uint32_t)filled};
    return FAULT_OK;
}

/* A resolution that leaves less state than each of its inputs had is legal but suspicious: keep the evidence (DESIGN §9 "Reset
 * guard"). */
static void reset_guard(const struct room_write *write, const struct state_map *sets, size_t count, struct state_map result)
{
    static struct metric *shrunk;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        least = sets[i].count < least ? sets[i].count : least;
    if (result.count >= least)
        return;
    if (!shrunk)
        shrunk = metric_counter("myelin_state_resolutions_shrunk_total", "Resolutions with less state than each input", NULL);
    metric_add(shrunk, 1);
    log_event(LOG_WARN, "state resolution left less state than any input", LOG_STR("room", write->room->room_id),
              LOG_I64("inputs", (int64_t)count), LOG_I64("least", (int64_t)least), LOG_I64("left", (int64_t)result.count));
}

static bool maps_equal(struct state_map a, struct state_map b)
{
    return a.count == b.count && (a.count == 0 || memcmp(a.pairs, b.pairs, a.count * sizeof *a.pairs) == 0);
}

enum fault resolve_states(struct room_write *write, const struct state_map *sets, size_t count, struct state_map *out)
{
    struct arena *arena = write->call->arena;
    struct state_map *distinct = arena_new_array(arena, count, struct state_map);
    size_t distinct_count = 0;
    for (size_t i = 0; i < count; i++) {
        size_t seen = 0;
        while (seen < distinct_count && !maps_equal(distinct[seen], sets[i]))
            seen++;
        if (seen == distinct_count)
            distinct[distinct_count++] = sets[i];
    }
    if (distinct_count <= 1) {
        *out = distinct_count ? distinct[0] : (struct state_map){NULL, 0};
        return FAULT_OK;
    }
    struct graph graph = {0};
    enum fault fault = graph_load(write, distinct, distinct_count, &graph);
    if (fault)
        return fault;
    struct state_set *inputs = arena_new_array(arena, distinct_count, struct state_set), resolved;
    for (size_t i = 0; i < distinct_count; i++) {
        struct state_entry *entries = arena_new_array(arena, distinct[i].count, struct state_entry);
        for (size_t k = 0; k < distinct[i].count; k++) {
            int64_t index;
            ensure(map_get_i64(graph.index_of, nid_key(&distinct[i].pairs[k].event), &index));
            entries[k] = (struct state_entry){distinct[i].pairs[k].key, (uint32_t)index};
        }
        inputs[i] = (struct state_set){entries, distinct[i].count};
    }
    state_resolve(arena, write->room->version, &graph.graph, inputs, distinct_count, &resolved);
    struct state_pair *pairs = arena_new_array(arena, resolved.count, struct state_pair);
    for (size_t i = 0; i < resolved.count; i++)
        pairs[i] = (struct state_pair){resolved.entries[i].key, graph.nids[resolved.entries[i].event]};
    *out = (struct state_map){pairs, resolved.count};
    reset_guard(write, distinct, distinct_count, *out);
    return FAULT_OK;
}
