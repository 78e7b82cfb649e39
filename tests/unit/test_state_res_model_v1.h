/* The naive model of version 1's state resolution, as test_state_res_model.h is that of the others'. */
#ifndef MYELIN_TESTS_UNIT_TEST_STATE_RES_MODEL_V1_H
#define MYELIN_TESTS_UNIT_TEST_STATE_RES_MODEL_V1_H

#include <openssl/evp.h>

#include "tests/unit/test_state_res_room.h"

/* Whether x comes before y: "ascending depth then descending sha1(event_id)". */
static inline bool model_v1_before(const struct event *x, const struct event *y)
{
    unsigned char hash_x[20], hash_y[20];
    if (x->depth != y->depth)
        return x->depth < y->depth;
    EVP_Digest(x->event_id.at, x->event_id.len, hash_x, NULL, EVP_sha1(), NULL);
    EVP_Digest(y->event_id.at, y->event_id.len, hash_y, NULL, EVP_sha1(), NULL);
    return memcmp(hash_x, hash_y, sizeof hash_x) > 0;
}

static inline bool model_v1_allows(const struct test_graph *graph, const struct test_room_state *state, int event)
{
    const struct event *events[GRAPH_KEYS_MAX];
    size_t count = 0;
    for (int key = 0; key < graph->key_count; key++)
        if (state->event[key] != NO_EVENT)
            events[count++] = graph->nodes[state->event[key]].event;
    struct event_list_view view = event_list_view(events, count);
    const char *why;
    return auth_check_state(graph->arena, graph->nodes[event].event, &view.view, &why) == FAULT_OK;
}

/* The values of a key in the sets, sorted, each once. */
static inline size_t model_v1_values(const struct test_graph *graph, const struct test_room_state *sets, size_t set_count, int key,
                                     int *values)
{
    size_t count = 0;
    for (uint32_t e = 0; e < graph->count; e++) {
        bool is_value = false;
        for (size_t s = 0; s < set_count; s++)
            is_value |= sets[s].event[key] == (int)e;
        if (!is_value)
            continue;
        size_t at = count++;
        for (; at && model_v1_before(graph->nodes[e].event, graph->nodes[values[at - 1]].event); at--)
            values[at] = values[at - 1];
        values[at] = (int)e;
    }
    return count;
}

static inline int model_v1_settle(const struct test_graph *graph, struct test_room_state state, int key, const int *values,
                                  size_t count, bool is_auth)
{
    if (!is_auth) {
        for (size_t i = count; i-- > 0;)
            if (model_v1_allows(graph, &state, values[i]))
                return values[i];
        return values[0];
    }
    state.event[key] = values[0];
    for (size_t i = 1; i < count && model_v1_allows(graph, &state, values[i]); i++)
        state.event[key] = values[i];
    return state.event[key];
}

static inline struct test_room_state model_v1_resolve(const struct test_graph *graph, const struct test_room_state *sets,
                                                      size_t set_count)
{
    static const char *const passes[] = {"m.room.power_levels", "m.room.join_rules", "m.room.member", NULL};
    struct test_room_state state = test_room_state_empty();
    int values[GRAPH_EVENTS_MAX];
    for (int key = 0; key < graph->key_count; key++)
        if (model_v1_values(graph, sets, set_count, key, values) == 1)
            state.event[key] = values[0];
    for (int pass = 0; pass < 4; pass++) {
        struct test_room_state after = state;
        for (int key = 0; key < graph->key_count; key++) {
            bool is_of_pass = !passes[pass] || slice_eq(graph->keys[key].type, slice_from_cstr(passes[pass]));
            size_t count = model_v1_values(graph, sets, set_count, key, values);
            if (is_of_pass && state.event[key] == NO_EVENT && count > 1)
                after.event[key] = model_v1_settle(graph, state, key, values, count, passes[pass] != NULL);
        }
        state = after;
    }
    return state;
}

#endif
