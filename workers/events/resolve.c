/* Loading for state resolution; see resolve.h. What the sets agree about is left out, chains are walked as integers, and contents
 * are loaded for what will be judged: a room of 50,000 members that disagrees about two costs what those two cost. */
#include "workers/events/resolve.h"

#include "lib/base/ensure.h"
#include "lib/matrix/state_res.h"
#include "workers/events/auth_dag.h"
#include "workers/events/heavy_work.h"
#include "workers/events/reset_guard.h"
#include "workers/events/state_keys.h"

enum fault after_states_load(struct room_write *write, struct after_state *states, size_t count)
{
    struct call *call = write->call;
    int64_t *nids = arena_new_array(call->arena, count, int64_t);
    struct state_chain *chains = arena_new_array(call->arena, count, struct state_chain);
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        if (states[i].before.snapshot_nid == 0 && states[i].snapshot_nid == write->room->snapshot_nid)
            states[i].before = hot_room_state(write->room); /* messages on several heads: mostly */
        if (states[i].before.snapshot_nid == 0)
            nids[wanted++] = states[i].snapshot_nid;
    }
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

/* ---- what the sets disagree about */
struct dispute {
    struct state_map agreed;    /* what all sets have; version 1: what those that have the key have */
    struct state_map *disputed; /* of each set: the rest */
    size_t sets;
    size_t pairs; /* disputed, of all sets */
};

/* The sets are read side by side, one key at a time. */
static struct dispute dispute_between(struct arena *arena, const struct room_version *version, const struct state_map *sets,
                                      size_t count)
{
    bool absent_counts = version->state_res != STATE_RES_V1;
    size_t *at = arena_new_array(arena, count, size_t), total = 0;
    struct state_pair **disputed = arena_new_array(arena, count, struct state_pair *);
    struct dispute dispute = {.disputed = arena_new_array(arena, count, struct state_map), .sets = count};
    for (size_t i = 0; i < count; i++)
        total += sets[i].count;
    struct state_pair *agreed = arena_new_array(arena, total, struct state_pair);
    for (;;) {
        int64_t key = INT64_MAX, event = 0;
        bool is_agreed = true;
        for (size_t i = 0; i < count; i++)
            if (at[i] < sets[i].count && sets[i].pairs[at[i]].key < key)
                key = sets[i].pairs[at[i]].key;
        if (key == INT64_MAX)
            break;
        for (size_t i = 0; i < count; i++) {
            bool has = at[i] < sets[i].count && sets[i].pairs[at[i]].key == key;
            if (!has)
                is_agreed &= !absent_counts;
            else if (event == 0)
                event = sets[i].pairs[at[i]].event;
            else
                is_agreed &= event == sets[i].pairs[at[i]].event;
        }
        if (is_agreed)
            agreed[dispute.agreed.count++] = (struct state_pair){key, event};
        for (size_t i = 0; i < count; i++) {
            if (at[i] == sets[i].count || sets[i].pairs[at[i]].key != key)
                continue;
            if (!is_agreed && !disputed[i])
                disputed[i] = arena_new_array(arena, sets[i].count - at[i], struct state_pair);
            if (!is_agreed) {
                disputed[i][dispute.disputed[i].count++] = sets[i].pairs[at[i]];
                dispute.pairs++;
            }
            at[i]++;
        }
    }
    dispute.agreed.pairs = agreed;
    for (size_t i = 0; i < count; i++)
        dispute.disputed[i].pairs = disputed[i];
    return dispute;
}

/* ---- the resolution in hand: the room's auth DAG with the contents that the rules will read */
struct resolution {
    struct room_write *write;
    struct dispute dispute;
    struct auth_dag *dag;
    struct auth_graph graph;
    struct auth_graph_node *nodes; /* the graph's, ours to fill */
    struct state_set *sets;
    const uint32_t *judged;
    size_t judged_count;
    struct map *loaded; /* nid → struct event; keys are the DAG's or the pairs' */
};

static struct slice nid_key(const int64_t *nid)
{
    return slice_of(nid, sizeof *nid);
}

/* The DAG may have grown: the graph is made anew from it, with the contents that are there. */
static void graph_refresh(struct resolution *resolution)
{
    uint32_t count;
    const struct auth_dag_node *nodes = auth_dag_nodes(resolution->dag, &count);
    resolution->nodes = arena_new_array(resolution->write->call->arena, count, struct auth_graph_node);
    for (uint32_t i = 0; i < count; i++)
        resolution->nodes[i] = (struct auth_graph_node){
            .auth = nodes[i].auth, .auth_count = nodes[i].auth_count, .is_power_levels = nodes[i].is_power_levels};
    struct slice nid;
    void *event;
    for (size_t at = 0; map_next(resolution->loaded, &at, &nid, &event);) {
        int64_t number;
        memcpy(&number, nid.at, sizeof number);
        resolution->nodes[auth_dag_index(resolution->dag, number)].event = event;
    }
    resolution->graph.nodes = resolution->nodes;
    resolution->graph.count = count;
}

static struct i64s nids_of(struct arena *arena, const struct state_map *maps, size_t count)
{
    size_t total = 0, filled = 0;
    for (size_t i = 0; i < count; i++)
        total += maps[i].count;
    int64_t *nids = arena_new_array(arena, total, int64_t);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < maps[i].count; k++)
            nids[filled++] = maps[i].pairs[k].event;
    return (struct i64s){nids, filled};
}

static struct state_set set_of(struct resolution *resolution, struct state_map map)
{
    struct state_entry *entries = arena_new_array(resolution->write->call->arena, map.count, struct state_entry);
    for (size_t i = 0; i < map.count; i++)
        entries[i] = (struct state_entry){map.pairs[i].key, auth_dag_index(resolution->dag, map.pairs[i].event)};
    return (struct state_set){entries, map.count};
}

/* The chains of what is disputed; those of the rest only when it matters. */
static enum fault load_chains(struct resolution *resolution)
{
    struct room_write *write = resolution->write;
    struct arena *arena = write->call->arena;
    const struct dispute *dispute = &resolution->dispute;
    enum fault fault = auth_dag_load(write, resolution->dag, nids_of(arena, dispute->disputed, dispute->sets));
    if (fault)
        return fault;
    resolution->sets = arena_new_array(arena, dispute->sets, struct state_set);
    for (size_t i = 0; i < dispute->sets; i++)
        resolution->sets[i] = set_of(resolution, dispute->disputed[i]);
    graph_refresh(resolution);
    if (!state_res_chains_differ(arena, write->room->version, &resolution->graph, resolution->sets, dispute->sets))
        return FAULT_OK;
    struct i64s agreed = nids_of(arena, &dispute->agreed, 1);
    if ((fault = auth_dag_load(write, resolution->dag, agreed)))
        return fault;
    uint32_t *common = arena_new_array(arena, agreed.len, uint32_t);
    for (size_t i = 0; i < agreed.len; i++)
        common[i] = auth_dag_index(resolution->dag, agreed.at[i]);
    resolution->graph.common = common;
    resolution->graph.common_count = agreed.len;
    graph_refresh(resolution);
    return FAULT_OK;
}

static void find_judged(struct resolution *resolution)
{
    resolution->judged_count =
        state_res_judged(resolution->write->call->arena, resolution->write->room->version, &resolution->graph, resolution->sets,
                         resolution->dispute.sets, &resolution->judged);
    ensure(resolution->judged);
}

/* Contents by nid, each once: from the write in hand, from memory, from the table. */
static enum fault load_events(struct resolution *resolution, const int64_t *nids, size_t count)
{
    struct room_write *write = resolution->write;
    struct arena *arena = write->call->arena;
    int64_t *wanted = arena_new_array(arena, count, int64_t);
    struct event **events = arena_new_array(arena, count, struct event *);
    size_t wanted_count = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_pending = false;
        if (map_has(resolution->loaded, nid_key(&nids[i])))
            continue;
        for (size_t k = 0; k < write->count; k++) {
            if (write->events[k].nid != nids[i])
                continue;
            map_put(resolution->loaded, nid_key(&write->events[k].nid), write->events[k].event);
            is_pending = true;
        }
        if (is_pending)
            continue;
        wanted[wanted_count] = nids[i];
        map_put(resolution->loaded, nid_key(&wanted[wanted_count++]), NULL);
    }
    enum fault fault = hot_room_events(write->call, write->room, wanted, wanted_count, events);
    for (size_t i = 0; !fault && i < wanted_count; i++)
        map_put(resolution->loaded, nid_key(&wanted[i]), events[i]);
    return fault;
}

/* What will be judged, and what that cites. */
static enum fault load_judged(struct resolution *resolution)
{
    struct arena *arena = resolution->write->call->arena;
    uint32_t dag_count;
    const struct auth_dag_node *nodes = auth_dag_nodes(resolution->dag, &dag_count);
    size_t count = 0;
    for (size_t i = 0; i < resolution->judged_count; i++)
        count += 1 + nodes[resolution->judged[i]].auth_count;
    int64_t *nids = arena_new_array(arena, count, int64_t);
    count = 0;
    for (size_t i = 0; i < resolution->judged_count; i++) {
        const struct auth_dag_node *node = &nodes[resolution->judged[i]];
        nids[count++] = node->nid;
        for (uint32_t k = 0; k < node->auth_count; k++)
            nids[count++] = nodes[node->auth[k]].nid;
    }
    return load_events(resolution, nids, count);
}

/* The entries on which all agree and for which the rules may ask: they join every set. */
static enum fault load_needed(struct resolution *resolution)
{
    struct room_write *write = resolution->write;
    struct arena *arena = write->call->arena;
    uint32_t dag_count;
    const struct auth_dag_node *nodes = auth_dag_nodes(resolution->dag, &dag_count);
    size_t room = resolution->judged_count * STATE_NEEDS_MAX + 1, count = 1;
    struct slice *types = arena_new_array(arena, room, struct slice), *keys = arena_new_array(arena, room, struct slice);
    int64_t *key_nids = arena_new_array(arena, room, int64_t);
    types[0] = SLICE("m.room.create"); /* version 12 cites it nowhere */
    keys[0] = SLICE("");
    for (size_t i = 0; i < resolution->judged_count; i++) {
        struct state_need needs[STATE_NEEDS_MAX];
        const struct event *event = map_get(resolution->loaded, nid_key(&nodes[resolution->judged[i]].nid));
        size_t need_count = auth_needs(event, needs);
        for (size_t n = 0; n < need_count; n++) {
            types[count] = slice_from_cstr(needs[n].type);
            keys[count++] = needs[n].state_key;
        }
    }
    enum fault fault = state_keys_find(write->call, types, keys, count, key_nids);
    if (fault)
        return fault;
    struct state_pair *pairs = arena_new_array(arena, count, struct state_pair);
    size_t pair_count = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t event = key_nids[i] ? state_map_get(resolution->dispute.agreed, key_nids[i]) : 0;
        if (event)
            pairs[pair_count++] = (struct state_pair){key_nids[i], event};
    }
    struct state_map needed = state_map_from(arena, pairs, pair_count);
    struct i64s nids = nids_of(arena, &needed, 1);
    if ((fault = auth_dag_load(write, resolution->dag, nids)) || (fault = load_events(resolution, nids.at, nids.len)))
        return fault;
    for (size_t i = 0; i < resolution->dispute.sets; i++)
        resolution->sets[i] = set_of(resolution, state_map_apply(arena, resolution->dispute.disputed[i], needed));
    return FAULT_OK;
}

/* Events of the auth difference that are in none of the sets may enter the result: they need their interned key. */
static enum fault name_judged(struct resolution *resolution)
{
    struct arena *arena = resolution->write->call->arena;
    size_t count = 0;
    struct slice *types = arena_new_array(arena, resolution->judged_count, struct slice);
    struct slice *keys = arena_new_array(arena, resolution->judged_count, struct slice);
    int64_t *nids = arena_new_array(arena, resolution->judged_count, int64_t);
    uint32_t *owners = arena_new_array(arena, resolution->judged_count, uint32_t);
    for (size_t i = 0; i < resolution->judged_count; i++) {
        const struct event *event = resolution->nodes[resolution->judged[i]].event;
        if (!event_is_state(event))
            continue;
        types[count] = event->type;
        keys[count] = event->state_key;
        owners[count++] = resolution->judged[i];
    }
    enum fault fault = state_keys_intern(resolution->write->call, types, keys, count, nids);
    for (size_t i = 0; !fault && i < count; i++)
        resolution->nodes[owners[i]].key = nids[i];
    return fault;
}

static enum fault resolve_dispute(struct resolution *resolution, struct state_map *out)
{
    struct room_write *write = resolution->write;
    struct arena *arena = write->call->arena;
    enum fault fault;
    if ((fault = load_chains(resolution)))
        return fault;
    find_judged(resolution);
    if ((fault = heavy_work_begin(write->call, resolution->judged_count)) || (fault = load_judged(resolution)) ||
        (fault = load_needed(resolution)))
        return fault;
    graph_refresh(resolution);
    if ((fault = name_judged(resolution)))
        return fault;
    struct state_set resolved;
    state_resolve(arena, write->room->version, &resolution->graph, resolution->sets, resolution->dispute.sets, &resolved);

    uint32_t dag_count;
    const struct auth_dag_node *nodes = auth_dag_nodes(resolution->dag, &dag_count);
    struct state_pair *settled = arena_new_array(arena, resolved.count, struct state_pair);
    size_t count = 0;
    for (size_t i = 0; i < resolved.count; i++) /* what all agree about takes precedence */
        if (!state_map_get(resolution->dispute.agreed, resolved.entries[i].key))
            settled[count++] = (struct state_pair){resolved.entries[i].key, nodes[resolved.entries[i].event].nid};
    *out = state_map_apply(arena, resolution->dispute.agreed, (struct state_map){settled, count});
    reset_guard(write, resolution->dispute.disputed, resolution->dispute.sets, (struct state_map){settled, count},
                resolution->loaded);
    return FAULT_OK;
}

enum fault resolve_states(struct room_write *write, const struct state_map *sets, size_t count, struct state_map *out)
{
    struct arena *arena = write->call->arena;
    struct state_map *distinct = arena_new_array(arena, count, struct state_map);
    size_t distinct_count = 0;
    for (size_t i = 0; i < count; i++) {
        size_t seen = 0;
        while (seen < distinct_count && !state_maps_equal(distinct[seen], sets[i]))
            seen++;
        if (seen == distinct_count)
            distinct[distinct_count++] = sets[i];
    }
    if (distinct_count <= 1) {
        *out = distinct_count ? distinct[0] : (struct state_map){NULL, 0};
        return FAULT_OK;
    }
    struct resolution resolution = {.write = write,
                                    .dispute = dispute_between(arena, write->room->version, distinct, distinct_count),
                                    .dag = hot_room_auth_dag(write->room),
                                    .loaded = map_create(arena)};
    if (resolution.dispute.pairs == 0) { /* version 1: one side only lacks what the other has */
        *out = resolution.dispute.agreed;
        return FAULT_OK;
    }
    return resolve_dispute(&resolution, out);
}
