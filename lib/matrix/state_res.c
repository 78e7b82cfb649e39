/* State resolution ("State resolution" of room versions 1, 2 and 12): chooses the algorithm of the version and goes through
 * the steps of versions 2 and 2.1; the definitions those steps rest on have a file each, state_res_*.c. */
#include "lib/matrix/state_res.h"

#include "lib/matrix/state_res_steps.h"

static bool node_is_create(const struct auth_graph_node *node)
{
    return node->event && event_is_state_of(node->event, "m.room.create", SLICE(""));
}

/* Version 12's events do not name the create event: it is found by the room id, or rather by being the only one. Its interned
 * key is among the first of every set. */
static uint32_t find_create(const struct auth_graph *graph, const struct state_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (node_is_create(&graph->nodes[set->entries[i].event]))
            return set->entries[i].event;
    for (uint32_t i = 0; i < graph->count; i++)
        if (node_is_create(&graph->nodes[i]))
            return i;
    return EVENT_NONE;
}

/* Step 1's X: "the set X of all power events that appear in the full conflicted set. For each such power event P, enlarge X by
 * adding the events in the auth chain of P which also belong to the full conflicted set." */
static struct event_bits select_power_events(struct arena *arena, const struct auth_graph *graph, struct event_bits full)
{
    struct event_list candidates = event_bits_list(arena, full);
    struct event_list power = {arena_new_array(arena, candidates.count, uint32_t), 0};
    for (size_t i = 0; i < candidates.count; i++)
        if (is_power_event(graph->nodes[candidates.at[i]].event))
            power.at[power.count++] = candidates.at[i];
    struct event_bits selected = event_bits_in(arena, graph->count);
    auth_chains_add(arena, graph, power, (struct event_bits){0}, selected);
    for (uint32_t w = 0; w <= graph->count / 64; w++)
        selected.words[w] &= full.words[w];
    for (size_t i = 0; i < power.count; i++)
        event_bits_add(selected, power.at[i]);
    return selected;
}

static struct event_list those_not_in(struct arena *arena, struct event_bits all, struct event_bits taken)
{
    struct event_bits rest = event_bits_in(arena, all.count);
    for (uint32_t w = 0; w <= all.count / 64; w++)
        rest.words[w] = all.words[w] & ~taken.words[w];
    return event_bits_list(arena, rest);
}

/* Where the iterative auth checks start: the unconflicted state map, or in version 2.1 an empty one. */
static struct partial_state *start_state(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                                         const struct conflicts *conflicts, size_t full_count)
{
    bool starts_empty = version->state_res == STATE_RES_V2_1;
    size_t known = starts_empty ? 0 : conflicts->unconflicted.count;
    struct partial_state *state = partial_state_create(arena, version, graph, known + full_count);
    for (size_t i = 0; i < known; i++)
        partial_state_set(state, conflicts->unconflicted.entries[i].event, conflicts->unconflicted.entries[i].key);
    for (size_t i = 0; i < conflicts->conflicted.count; i++)
        partial_state_name(state, conflicts->conflicted.entries[i].event, conflicts->conflicted.entries[i].key);
    return state;
}

static void state_resolve_v2(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                             const struct state_set *sets, size_t set_count, const struct conflicts *conflicts,
                             struct state_set *out)
{
    struct event_bits full = full_conflicted_set(arena, version, graph, conflicts, set_count);
    uint32_t create = version->room_id_is_create_hash ? find_create(graph, &sets[0]) : EVENT_NONE;
    struct partial_state *state = start_state(arena, version, graph, conflicts, event_bits_list(arena, full).count);
    partial_state_assume_create(state, create);

    /* 1. Select the power events and what they rest on, sorted by the reverse topological power ordering. */
    struct event_bits power = select_power_events(arena, graph, full);
    struct event_list first = reverse_topological_power_ordering(arena, graph, power, create);
    /* 2. Apply the iterative auth checks to them to get a partially resolved state. */
    iterative_auth_checks(state, first);
    /* 3. Order the remaining events by the mainline of that state's power levels. In version 2.1 it may have none. */
    struct event_list remaining = those_not_in(arena, full, power);
    mainline_order(arena, graph, partial_state_get(state, "m.room.power_levels", SLICE("")), remaining);
    /* 4. Apply the iterative auth checks to those. */
    iterative_auth_checks(state, remaining);
    /* 5. The unconflicted state map takes precedence. */
    *out = partial_state_under(state, conflicts->unconflicted);
}

bool state_res_chains_differ(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                             const struct state_set *sets, size_t set_count)
{
    if (version->state_res == STATE_RES_V1)
        return false; /* version 1 does not look at chains */
    struct conflicts conflicts = conflicts_between(arena, sets, set_count, true);
    return chains_difference(arena, graph, &conflicts, set_count, event_bits_in(arena, graph->count));
}

size_t state_res_judged(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                        const struct state_set *sets, size_t set_count, const uint32_t **out)
{
    bool is_v1 = version->state_res == STATE_RES_V1;
    struct conflicts conflicts = conflicts_between(arena, sets, set_count, !is_v1);
    struct event_bits full =
        is_v1 ? event_bits_in(arena, graph->count) : full_conflicted_set(arena, version, graph, &conflicts, set_count);
    for (size_t i = 0; i < conflicts.conflicted.count; i++)
        event_bits_add(full, conflicts.conflicted.entries[i].event);
    struct event_list list = event_bits_list(arena, full);
    *out = list.at;
    return list.count;
}

void state_resolve(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                   const struct state_set *sets, size_t set_count, struct state_set *out)
{
    bool is_v1 = version->state_res == STATE_RES_V1;
    struct conflicts conflicts = conflicts_between(arena, sets, set_count, !is_v1);
    if (conflicts.conflicted.count == 0) /* nothing to ask the rules about: the full conflicted set is empty too */
        *out = conflicts.unconflicted;
    else if (is_v1)
        state_resolve_v1(arena, version, graph, &conflicts, out);
    else
        state_resolve_v2(arena, version, graph, sets, set_count, &conflicts, out);
}
