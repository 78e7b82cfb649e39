/* The naive model of state resolution: the definitions of the spec written down one by one, as slowly as they read, with none
 * of the code under test but the authorisation rules and power_of_user, which have tests of their own. Sets of events are
 * arrays of bool, reachability is a matrix. */
#ifndef MYELIN_TESTS_UNIT_TEST_STATE_RES_MODEL_H
#define MYELIN_TESTS_UNIT_TEST_STATE_RES_MODEL_H

#include "tests/unit/test_state_res_room.h"

struct model {
    const struct test_graph *graph;
    const struct test_room_state *sets;
    size_t set_count;
    bool chain[GRAPH_EVENTS_MAX][GRAPH_EVENTS_MAX]; /* chain[e][a]: a is in the auth chain of e */
    struct test_room_state state;                   /* being built */
};

static inline const struct event *model_event(const struct model *model, int event)
{
    return model->graph->nodes[event].event;
}

/* "the set containing all of E's auth events, all of their auth events, and so on". Events are added after their auth events. */
static inline void model_chains(struct model *model)
{
    memset(model->chain, 0, sizeof model->chain);
    for (uint32_t e = 0; e < model->graph->count; e++)
        for (uint32_t i = 0; i < model->graph->nodes[e].auth_count; i++) {
            uint32_t cited = model->graph->nodes[e].auth[i];
            model->chain[e][cited] = true;
            for (uint32_t a = 0; a < model->graph->count; a++)
                model->chain[e][a] |= model->chain[cited][a];
        }
}

static inline bool model_is_unconflicted(const struct model *model, int key)
{
    for (size_t s = 0; s < model->set_count; s++)
        if (model->sets[s].event[key] == NO_EVENT || model->sets[s].event[key] != model->sets[0].event[key])
            return false;
    return true;
}

static inline void model_conflicted_state_set(const struct model *model, bool *conflicted)
{
    for (int key = 0; key < model->graph->key_count; key++)
        for (size_t s = 0; s < model->set_count && !model_is_unconflicted(model, key); s++)
            if (model->sets[s].event[key] != NO_EVENT)
                conflicted[model->sets[s].event[key]] = true;
}

static inline bool model_in_set_chain(const struct model *model, size_t set, uint32_t event)
{
    for (int key = 0; key < model->graph->key_count; key++)
        if (model->sets[set].event[key] != NO_EVENT && model->chain[model->sets[set].event[key]][event])
            return true;
    return false;
}

static inline void model_full_conflicted_set(const struct model *model, bool *full)
{
    bool conflicted[GRAPH_EVENTS_MAX] = {0};
    uint32_t count = model->graph->count;
    model_conflicted_state_set(model, conflicted);
    for (uint32_t e = 0; e < count; e++) {
        size_t in = 0;
        for (size_t s = 0; s < model->set_count; s++)
            in += model_in_set_chain(model, s, e);
        full[e] = conflicted[e] || (in > 0 && in < model->set_count);
    }
    if (model->graph->version->state_res != STATE_RES_V2_1)
        return;
    for (uint32_t from = 0; from < count; from++)
        for (uint32_t to = 0; to < count; to++)
            for (uint32_t e = 0; conflicted[from] && conflicted[to] && e < count; e++)
                full[e] |= model->chain[from][e] && model->chain[e][to];
}

static inline bool model_has(const struct event *event, const char *type, const char *state_key)
{
    return slice_eq(event->type, slice_from_cstr(type)) && event->state_key.at &&
           slice_eq(event->state_key, slice_from_cstr(state_key));
}

static inline bool model_is_power_event(const struct event *event)
{
    if (model_has(event, "m.room.power_levels", "") || model_has(event, "m.room.join_rules", ""))
        return true;
    struct slice membership = json_get_string(event->content, "membership");
    return slice_eq(event->type, SLICE("m.room.member")) && !slice_eq(event->sender, event->state_key) &&
           (slice_eq(membership, SLICE("leave")) || slice_eq(membership, SLICE("ban")));
}

static inline int model_cited(const struct model *model, int event, const char *type)
{
    for (uint32_t i = 0; i < model->graph->nodes[event].auth_count; i++)
        if (model_has(model_event(model, (int)model->graph->nodes[event].auth[i]), type, ""))
            return (int)model->graph->nodes[event].auth[i];
    return NO_EVENT;
}

/* Event 0 of a test graph is the create event. */
static inline int64_t model_sender_power(const struct model *model, int event)
{
    int levels = model_cited(model, event, "m.room.power_levels");
    struct power_levels powers = {levels == NO_EVENT ? NULL : model_event(model, levels)->content, model->graph->version,
                                  model_event(model, 0)};
    return power_of_user(&powers, model_event(model, event)->sender);
}

static inline bool model_earlier(const struct event *x, const struct event *y)
{
    if (x->origin_server_ts != y->origin_server_ts)
        return x->origin_server_ts < y->origin_server_ts;
    return slice_cmp(x->event_id, y->event_id) < 0;
}

static inline bool model_power_less(const struct model *model, int x, int y)
{
    int64_t power_x = model_sender_power(model, x), power_y = model_sender_power(model, y);
    return power_x != power_y ? power_x > power_y : model_earlier(model_event(model, x), model_event(model, y));
}

/* Kahn's algorithm, looking through all that is left for each next event. Takes the events out of `left`. */
static inline int model_topological_next(const struct model *model, bool *left)
{
    int best = NO_EVENT;
    for (uint32_t e = 0; e < model->graph->count; e++) {
        bool is_free = left[e];
        for (uint32_t a = 0; a < model->graph->count; a++)
            is_free = is_free && !(left[a] && model->chain[e][a]);
        if (is_free && (best == NO_EVENT || model_power_less(model, (int)e, best)))
            best = (int)e;
    }
    if (best != NO_EVENT)
        left[best] = false;
    return best;
}

static inline int model_mainline_position(const struct model *model, int levels, int event)
{
    for (int e = model_cited(model, event, "m.room.power_levels"); e != NO_EVENT;
         e = model_cited(model, e, "m.room.power_levels")) {
        int position = 0;
        for (int p = levels; p != NO_EVENT; p = model_cited(model, p, "m.room.power_levels"), position++)
            if (p == e)
                return position;
    }
    return INT32_MAX;
}

static inline int model_mainline_next(const struct model *model, int levels, bool *left)
{
    int best = NO_EVENT, best_position = 0;
    for (int e = 0; e < (int)model->graph->count; e++) {
        if (!left[e])
            continue;
        int position = model_mainline_position(model, levels, e);
        if (best == NO_EVENT || position > best_position ||
            (position == best_position && model_earlier(model_event(model, e), model_event(model, best)))) {
            best = e;
            best_position = position;
        }
    }
    if (best != NO_EVENT)
        left[best] = false;
    return best;
}

struct model_view {
    struct state_view view;
    const struct model *model;
    int judged;
};
static inline const struct event *model_get(const struct state_view *view, const char *type, struct slice state_key)
{
    const struct model_view *of = (const struct model_view *)view;
    const struct test_graph *graph = of->model->graph;
    for (int key = 0; key < graph->key_count; key++)
        if (slice_eq(graph->keys[key].type, slice_from_cstr(type)) && slice_eq(graph->keys[key].state_key, state_key) &&
            of->model->state.event[key] != NO_EVENT)
            return model_event(of->model, of->model->state.event[key]);
    for (uint32_t i = 0; i < graph->nodes[of->judged].auth_count; i++) {
        const struct event *cited = graph->nodes[graph->nodes[of->judged].auth[i]].event;
        if (slice_eq(cited->type, slice_from_cstr(type)) && slice_eq(cited->state_key, state_key) && !cited->rejected)
            return cited;
    }
    if (graph->version->room_id_is_create_hash && strcmp(type, "m.room.create") == 0)
        return graph->nodes[0].event;
    return NULL;
}

static inline void model_auth_check(struct model *model, int event)
{
    struct model_view view = {{.get = model_get}, model, event};
    const char *why;
    if (auth_check_state(model->graph->arena, model_event(model, event), &view.view, &why) == FAULT_OK)
        model->state.event[model->graph->key_of[event]] = event;
}

/* "The resolution of a set of states is obtained as follows" */
static inline struct test_room_state model_resolve(const struct test_graph *graph, const struct test_room_state *sets, size_t count)
{
    static struct model model;
    model = (struct model){.graph = graph, .sets = sets, .set_count = count, .state = test_room_state_empty()};
    bool full[GRAPH_EVENTS_MAX] = {0}, power[GRAPH_EVENTS_MAX] = {0}, rest[GRAPH_EVENTS_MAX] = {0};
    model_chains(&model);
    model_full_conflicted_set(&model, full);
    /* 1 */
    for (uint32_t p = 0; p < graph->count; p++)
        if (full[p] && model_is_power_event(graph->nodes[p].event)) {
            power[p] = true;
            for (uint32_t a = 0; a < graph->count; a++)
                power[a] |= full[a] && model.chain[p][a];
        }
    for (uint32_t e = 0; e < graph->count; e++)
        rest[e] = full[e] && !power[e];
    /* 2 */
    for (int key = 0; key < graph->key_count; key++)
        if (graph->version->state_res != STATE_RES_V2_1 && count && model_is_unconflicted(&model, key))
            model.state.event[key] = sets[0].event[key];
    for (int e; (e = model_topological_next(&model, power)) != NO_EVENT;)
        model_auth_check(&model, e);
    /* 3 and 4 */
    int levels = NO_EVENT;
    for (int key = 0; key < graph->key_count; key++)
        if (slice_eq(graph->keys[key].type, SLICE("m.room.power_levels")) && graph->keys[key].state_key.len == 0)
            levels = model.state.event[key];
    for (int e; (e = model_mainline_next(&model, levels, rest)) != NO_EVENT;)
        model_auth_check(&model, e);
    /* 5 */
    for (int key = 0; key < graph->key_count; key++)
        if (count && model_is_unconflicted(&model, key))
            model.state.event[key] = sets[0].event[key];
    return model.state;
}

#endif
