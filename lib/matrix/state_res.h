/* State resolution v1, v2 (room versions 2–11) and v2.1 (12). Pure: events come through the loader's table.
 * Events are referred to by small integers (indices into the graph), so that auth chains are integer sets. */
#ifndef MYELIN_MATRIX_STATE_RES_H
#define MYELIN_MATRIX_STATE_RES_H

#include "lib/matrix/auth_rules.h"

/* The part of the auth DAG that a resolution can see. Most of it is only walked: then the numbers are enough. */
struct auth_graph_node {
    struct event *event;  /* NULL: not loaded. Looked at: the full conflicted set, what it cites, and the sets' events */
    const uint32_t *auth; /* indices of its auth events */
    uint32_t auth_count;
    int64_t key; /* the caller's id of its (type, state_key), 0: unknown. Only asked of events that are in none of the sets:
                    resolution may bring such a one back, and leaves it out when it cannot name its key */
    bool is_power_levels; /* for a node that is not loaded: m.room.power_levels with state_key "" */
};
struct auth_graph {
    const struct auth_graph_node *nodes;
    uint32_t count;
    /* Sets may leave out entries on which they all agree, when no rule asks for them (a room of 50,000 members disagrees about
     * two). These are the events of what was left out, or of as much of it as state_res_chains_differ makes necessary. */
    const uint32_t *common;
    size_t common_count;
};

/* One state set: sorted by (type, state_key) key; `key` is the caller's interned id of (type, state_key). */
struct state_entry {
    int64_t key;
    uint32_t event; /* index in the graph */
};
struct state_set {
    const struct state_entry *entries; /* ascending by key */
    size_t count;
};

/* Whether the auth chains of what the sets disagree about differ. Only then do the chains of what they agree about matter, and have
 * to be in the graph: what is in those is not in the auth difference. Integers only, no event is looked at. */
bool state_res_chains_differ(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                             const struct state_set *sets, size_t set_count);
/* The full conflicted set (version 1: the conflicted events), ascending: what the rules will judge. Integers only. */
size_t state_res_judged(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                        const struct state_set *sets, size_t set_count, const uint32_t **out);

/* Resolves the sets into one. *out is ascending by key, in the arena. All events of the sets and their full auth chains must
 * be in the graph (for v2.1 too). Never fails for well-formed graphs; cycles are asserted away by the loader.
 * version decides the algorithm. */
void state_resolve(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                   const struct state_set *sets, size_t set_count, struct state_set *out);

#endif
