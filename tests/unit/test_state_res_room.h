/* Auth graphs for the tests of state resolution: events are added one after another, each with the indices of its auth events;
 * (type, state_key) pairs are interned as they come. */
#ifndef MYELIN_TESTS_UNIT_TEST_STATE_RES_ROOM_H
#define MYELIN_TESTS_UNIT_TEST_STATE_RES_ROOM_H

#include "tests/unit/test_auth_rules_room.h"

#include "lib/matrix/state_res.h"

enum { GRAPH_EVENTS_MAX = 512, GRAPH_KEYS_MAX = 64, NO_EVENT = -1 };

struct test_graph {
    struct arena *arena;
    const struct room_version *version;
    struct auth_graph_node nodes[GRAPH_EVENTS_MAX];
    int key_of[GRAPH_EVENTS_MAX]; /* place in keys */
    uint32_t count;
    struct {
        struct slice type, state_key;
    } keys[GRAPH_KEYS_MAX];
    int key_count;
};

/* A room state: the event of each key, or NO_EVENT. */
struct test_room_state {
    int event[GRAPH_KEYS_MAX];
};

static inline int test_graph_key(struct test_graph *graph, struct slice type, struct slice state_key)
{
    for (int key = 0; key < graph->key_count; key++)
        if (slice_eq(graph->keys[key].type, type) && slice_eq(graph->keys[key].state_key, state_key))
            return key;
    assert_true(graph->key_count < GRAPH_KEYS_MAX);
    graph->keys[graph->key_count].type = type;
    graph->keys[graph->key_count].state_key = state_key;
    return graph->key_count++;
}

static inline uint32_t test_graph_add(struct test_graph *graph, struct event *event, const uint32_t *auth, uint32_t auth_count)
{
    assert_true(graph->count < GRAPH_EVENTS_MAX);
    uint32_t *copy = arena_new_array(graph->arena, auth_count, uint32_t);
    for (uint32_t i = 0; i < auth_count; i++)
        copy[i] = auth[i];
    int key = test_graph_key(graph, event->type, event->state_key);
    graph->nodes[graph->count] = (struct auth_graph_node){event, copy, auth_count, key + 1};
    graph->key_of[graph->count] = key;
    return graph->count++;
}

static inline struct test_room_state test_room_state_empty(void)
{
    struct test_room_state state;
    for (int key = 0; key < GRAPH_KEYS_MAX; key++)
        state.event[key] = NO_EVENT;
    return state;
}

static inline struct state_set test_state_set(struct test_graph *graph, const struct test_room_state *state)
{
    struct state_entry *entries = arena_new_array(graph->arena, GRAPH_KEYS_MAX, struct state_entry);
    size_t count = 0;
    for (int key = 0; key < graph->key_count; key++)
        if (state->event[key] != NO_EVENT)
            entries[count++] = (struct state_entry){key + 1, (uint32_t)state->event[key]};
    return (struct state_set){entries, count};
}

/* The code under test, on states. */
static inline struct test_room_state test_resolve(struct test_graph *graph, const struct test_room_state *states, size_t count)
{
    struct state_set *sets = arena_new_array(graph->arena, count, struct state_set), out;
    for (size_t i = 0; i < count; i++)
        sets[i] = test_state_set(graph, &states[i]);
    struct auth_graph seen = {graph->nodes, graph->count};
    state_resolve(graph->arena, graph->version, &seen, sets, count, &out);
    struct test_room_state resolved = test_room_state_empty();
    for (size_t i = 0; i < out.count; i++) {
        assert_true(i == 0 || out.entries[i - 1].key < out.entries[i].key);
        resolved.event[out.entries[i].key - 1] = (int)out.entries[i].event;
    }
    return resolved;
}

#endif
