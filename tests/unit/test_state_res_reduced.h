/* Resolution as `events` does it: what all sets agree about is left out unless a rule asks for it, and only the events that the
 * resolution says it looks at are loaded. The result must be that of the whole. */
#ifndef MYELIN_TESTS_UNIT_TEST_STATE_RES_REDUCED_H
#define MYELIN_TESTS_UNIT_TEST_STATE_RES_REDUCED_H

#include "tests/unit/test_state_res_room.h"

/* The event that all sets have (version 1: all that have one); NO_EVENT when they differ. */
static inline int test_agreed(const struct test_graph *graph, const struct test_room_state *states, size_t count, int key)
{
    bool absent_counts = graph->version->state_res != STATE_RES_V1;
    int agreed = NO_EVENT;
    for (size_t i = 0; i < count; i++) {
        int event = states[i].event[key];
        if (event == NO_EVENT && !absent_counts)
            continue;
        if (event == NO_EVENT || (agreed != NO_EVENT && agreed != event))
            return NO_EVENT;
        agreed = event;
    }
    return agreed;
}

static inline void test_load(const struct test_graph *graph, struct auth_graph_node *nodes, uint32_t event)
{
    nodes[event].event = graph->nodes[event].event;
}

static inline struct test_room_state test_resolve_reduced(struct test_graph *graph, const struct test_room_state *states,
                                                          size_t count)
{
    struct arena *arena = graph->arena;
    struct auth_graph_node *nodes = arena_new_array(arena, graph->count, struct auth_graph_node);
    for (uint32_t i = 0; i < graph->count; i++) {
        nodes[i] = graph->nodes[i];
        nodes[i].is_power_levels = event_is_state_of(nodes[i].event, "m.room.power_levels", SLICE(""));
        nodes[i].event = NULL;
    }
    struct auth_graph seen = {nodes, graph->count};
    struct test_room_state *reduced = arena_new_array(arena, count, struct test_room_state), agreed = test_room_state_empty();
    struct state_set *sets = arena_new_array(arena, count, struct state_set), out;
    uint32_t *common = arena_new_array(arena, GRAPH_KEYS_MAX, uint32_t);
    size_t common_count = 0;
    for (int key = 0; key < graph->key_count; key++)
        if ((agreed.event[key] = test_agreed(graph, states, count, key)) != NO_EVENT)
            common[common_count++] = (uint32_t)agreed.event[key];
    for (size_t i = 0; i < count; i++) {
        reduced[i] = states[i];
        for (int key = 0; key < graph->key_count; key++)
            if (agreed.event[key] != NO_EVENT)
                reduced[i].event[key] = NO_EVENT;
        sets[i] = test_state_set(graph, &reduced[i]);
    }
    if (state_res_chains_differ(arena, graph->version, &seen, sets, count)) {
        seen.common = common;
        seen.common_count = common_count;
    }
    const uint32_t *judged;
    size_t judged_count = state_res_judged(arena, graph->version, &seen, sets, count, &judged);
    for (size_t i = 0; i < judged_count; i++) {
        struct state_need needs[STATE_NEEDS_MAX + 1];
        test_load(graph, nodes, judged[i]);
        for (uint32_t k = 0; k < nodes[judged[i]].auth_count; k++)
            test_load(graph, nodes, nodes[judged[i]].auth[k]);
        size_t need_count = auth_needs(nodes[judged[i]].event, needs);
        needs[need_count++] = (struct state_need){"m.room.create", SLICE("")};
        for (size_t n = 0; n < need_count; n++) {
            int key = test_graph_key(graph, slice_from_cstr(needs[n].type), needs[n].state_key), event = agreed.event[key];
            if (event == NO_EVENT)
                continue;
            test_load(graph, nodes, (uint32_t)event);
            for (size_t s = 0; s < count; s++)
                reduced[s].event[key] = event;
        }
    }
    for (size_t i = 0; i < count; i++)
        sets[i] = test_state_set(graph, &reduced[i]);
    state_resolve(arena, graph->version, &seen, sets, count, &out);
    struct test_room_state resolved = test_room_state_empty();
    for (size_t i = 0; i < out.count; i++)
        resolved.event[out.entries[i].key - 1] = (int)out.entries[i].event;
    for (int key = 0; key < graph->key_count; key++)
        if (agreed.event[key] != NO_EVENT)
            resolved.event[key] = agreed.event[key];
    return resolved;
}

#endif
