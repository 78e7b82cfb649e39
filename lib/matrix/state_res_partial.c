/* The state a resolution is building. The rules ask for (type, state_key), the caller speaks of interned keys: a small table
 * of slots translates. Slots are only ever added; which of them have a value changes. */
#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/keyed_hash.h"
#include "lib/matrix/state_res_steps.h"

enum { SLOT_FREE = 0 };

struct slot {
    struct slice type, state_key;
    int64_t key; /* the caller's, 0 when unknown */
    uint32_t event;
};

struct partial_state {
    struct arena *arena;
    const struct room_version *version;
    const struct auth_graph *graph;
    struct slot *slots;
    uint32_t slot_count, slot_capacity;
    uint32_t *table; /* slot number + 1, or SLOT_FREE; open addressing, at most half full */
    uint32_t table_mask;
    uint32_t create;
};

struct partial_state *partial_state_create(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                                           size_t capacity)
{
    ensure(capacity < UINT32_MAX / 4);
    uint32_t size = 16;
    while (size < capacity * 2)
        size *= 2;
    struct partial_state *state = arena_new(arena, struct partial_state);
    *state = (struct partial_state){
        .arena = arena,
        .version = version,
        .graph = graph,
        .slots = arena_new_array(arena, capacity, struct slot),
        .slot_capacity = (uint32_t)capacity,
        .table = arena_new_array(arena, size, uint32_t),
        .table_mask = size - 1,
        .create = EVENT_NONE,
    };
    return state;
}

/* Where the pair is in the table, or the free place where it belongs. */
static uint32_t *table_place(const struct partial_state *state, struct slice type, struct slice state_key)
{
    uint64_t hash = slice_hash_keyed(state_key) + 3 * slice_hash_keyed(type);
    for (uint32_t at = (uint32_t)hash & state->table_mask;; at = (at + 1) & state->table_mask) {
        uint32_t *place = &state->table[at];
        if (*place == SLOT_FREE)
            return place;
        const struct slot *slot = &state->slots[*place - 1];
        if (slice_eq(slot->state_key, state_key) && slice_eq(slot->type, type))
            return place;
    }
}

static struct slot *slot_of(struct partial_state *state, uint32_t event)
{
    const struct event *of = state->graph->nodes[event].event;
    uint32_t *place = table_place(state, of->type, of->state_key);
    if (*place == SLOT_FREE) {
        ensure(state->slot_count < state->slot_capacity);
        state->slots[state->slot_count] = (struct slot){of->type, of->state_key, state->graph->nodes[event].key, EVENT_NONE};
        *place = ++state->slot_count;
    }
    return &state->slots[*place - 1];
}

void partial_state_name(struct partial_state *state, uint32_t event, int64_t key)
{
    slot_of(state, event)->key = key;
}

void partial_state_set(struct partial_state *state, uint32_t event, int64_t key)
{
    struct slot *slot = slot_of(state, event);
    slot->event = event;
    if (key)
        slot->key = key;
}

void partial_state_clear(struct partial_state *state, uint32_t event)
{
    slot_of(state, event)->event = EVENT_NONE;
}

uint32_t partial_state_get(const struct partial_state *state, const char *type, struct slice state_key)
{
    uint32_t place = *table_place(state, slice_from_cstr(type), state_key);
    return place == SLOT_FREE ? EVENT_NONE : state->slots[place - 1].event;
}

void partial_state_assume_create(struct partial_state *state, uint32_t create)
{
    state->create = create;
}

/* What the rules see while one event is judged. */
struct judging_view {
    struct state_view view;
    const struct partial_state *state;
    const struct auth_graph_node *judged;
    bool cite;
};

static const struct event *judging_get(const struct state_view *view, const char *type, struct slice state_key)
{
    const struct judging_view *judging = (const struct judging_view *)view;
    const struct auth_graph_node *nodes = judging->state->graph->nodes;
    uint32_t event = partial_state_get(judging->state, type, state_key);
    if (event != EVENT_NONE)
        return nodes[event].event;
    /* "If a key that is required … is not present in the state, then the appropriate state event from the event's auth_events
     * is used if the auth event is not rejected." */
    for (uint32_t i = 0; judging->cite && i < judging->judged->auth_count; i++) {
        const struct event *cited = nodes[judging->judged->auth[i]].event;
        if (!cited->rejected && event_is_state_of(cited, type, state_key))
            return cited;
    }
    if (judging->state->create != EVENT_NONE && event_is_state_of(nodes[judging->state->create].event, type, state_key))
        return nodes[judging->state->create].event;
    return NULL;
}

bool partial_state_allows(const struct partial_state *state, uint32_t event, bool cite)
{
    const struct auth_graph_node *node = &state->graph->nodes[event];
    struct judging_view judging = {{.get = judging_get}, state, node, cite};
    const char *why;
    return auth_check_state(state->arena, node->event, &judging.view, &why) == FAULT_OK;
}

void iterative_auth_checks(struct partial_state *state, struct event_list events)
{
    for (size_t i = 0; i < events.count; i++)
        if (event_is_state(state->graph->nodes[events.at[i]].event) && partial_state_allows(state, events.at[i], true))
            partial_state_set(state, events.at[i], 0);
}

static int entry_order(const void *left, const void *right)
{
    const struct state_entry *a = left, *b = right;
    return (a->key > b->key) - (a->key < b->key);
}

struct state_set partial_state_under(const struct partial_state *state, struct state_set over)
{
    struct state_entry *under = arena_new_array(state->arena, state->slot_count, struct state_entry);
    size_t under_count = 0;
    for (uint32_t i = 0; i < state->slot_count; i++)
        if (state->slots[i].event != EVENT_NONE && state->slots[i].key)
            under[under_count++] = (struct state_entry){state->slots[i].key, state->slots[i].event};
    qsort(under, under_count, sizeof *under, entry_order);

    struct state_entry *merged = arena_new_array(state->arena, under_count + over.count, struct state_entry);
    size_t count = 0, u = 0, o = 0;
    while (u < under_count || o < over.count) {
        bool take_over = u == under_count || (o < over.count && over.entries[o].key <= under[u].key);
        if (take_over && u < under_count && under[u].key == over.entries[o].key)
            u++;
        merged[count++] = take_over ? over.entries[o++] : under[u++];
    }
    return (struct state_set){merged, count};
}
