/* "Power events" and "Reverse topological power ordering": Kahn's algorithm over the auth DAG, taking the event of the
 * strongest sender, then the oldest, among those that are free.
 * The DAG is that of the room, not only the edges between the events to be sorted: an event never comes before one of its auth
 * chain, even when the path leads through events that are not sorted. Those are passed through as soon as they are free. */
#include "lib/base/ensure.h"
#include "lib/matrix/state_res_steps.h"

/* The state_keys of power levels and join rules are required to be empty, as their schemas say and as other servers check;
 * with any other state_key the event has no power over anything. */
bool is_power_event(const struct event *event)
{
    if (event_is_state_of(event, "m.room.power_levels", SLICE("")) || event_is_state_of(event, "m.room.join_rules", SLICE("")))
        return true;
    if (!event_is_state(event) || !event_is(event, "m.room.member") || slice_eq(event->sender, event->state_key))
        return false;
    struct slice membership = json_get_string(event->content, "membership");
    return slice_eq(membership, SLICE("leave")) || slice_eq(membership, SLICE("ban"));
}

struct candidate {
    int64_t power;
    int64_t timestamp_ms;
    struct slice event_id;
    uint32_t event;
};

static bool candidate_before(const struct candidate *x, const struct candidate *y)
{
    if (x->power != y->power)
        return x->power > y->power;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms;
    return slice_cmp(x->event_id, y->event_id) < 0;
}

/* A binary heap, smallest candidate on top. */
struct heap {
    struct candidate *at;
    size_t count;
};

static void heap_push(struct heap *heap, struct candidate candidate)
{
    size_t hole = heap->count++;
    while (hole && candidate_before(&candidate, &heap->at[(hole - 1) / 2])) {
        heap->at[hole] = heap->at[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap->at[hole] = candidate;
}

static struct candidate heap_pop(struct heap *heap)
{
    struct candidate top = heap->at[0], last = heap->at[--heap->count];
    size_t hole = 0;
    for (size_t child; (child = 2 * hole + 1) < heap->count; hole = child) {
        if (child + 1 < heap->count && candidate_before(&heap->at[child + 1], &heap->at[child]))
            child++;
        if (!candidate_before(&heap->at[child], &last))
            break;
        heap->at[hole] = heap->at[child];
    }
    heap->at[hole] = last;
    return top;
}

/* "x's sender has greater power level …, when looking at their respective auth_events" */
static int64_t sender_power(const struct auth_graph *graph, uint32_t event, uint32_t create)
{
    const struct auth_graph_node *node = &graph->nodes[event];
    const struct event *assumed = create == EVENT_NONE ? NULL : graph->nodes[create].event;
    struct power_levels levels = {.version = node->event->version, .create = assumed};
    for (uint32_t i = 0; i < node->auth_count; i++) {
        const struct event *cited = graph->nodes[node->auth[i]].event;
        if (!levels.content && event_is_state_of(cited, "m.room.power_levels", SLICE("")))
            levels.content = cited->content;
        else if (!levels.create && event_is_state_of(cited, "m.room.create", SLICE("")))
            levels.create = cited;
    }
    return power_of_user(&levels, node->event->sender);
}

struct sorting {
    const struct auth_graph *graph;
    struct event_bits events; /* to be sorted */
    uint32_t create;
    uint32_t *pending; /* auth events that are not yet out */
    struct cited_by cited_by;
    struct heap free;  /* events to be sorted whose auth events are out */
    uint32_t *passing; /* stack of other events whose auth events are out */
    size_t passing_count;
};

static void release(struct sorting *sorting, uint32_t event)
{
    if (!event_bits_has(sorting->events, event)) {
        sorting->passing[sorting->passing_count++] = event;
        return;
    }
    const struct event *of = sorting->graph->nodes[event].event;
    heap_push(&sorting->free,
              (struct candidate){sender_power(sorting->graph, event, sorting->create), of->origin_server_ts, of->event_id, event});
}

static void take_out(struct sorting *sorting, uint32_t event)
{
    for (uint32_t c = sorting->cited_by.from[event]; c < sorting->cited_by.from[event + 1]; c++)
        if (--sorting->pending[sorting->cited_by.at[c]] == 0)
            release(sorting, sorting->cited_by.at[c]);
}

struct event_list reverse_topological_power_ordering(struct arena *arena, const struct auth_graph *graph, struct event_bits events,
                                                     uint32_t create)
{
    struct event_list list = event_bits_list(arena, events);
    struct event_list sorted = {arena_new_array(arena, list.count, uint32_t), 0};
    struct event_bits members = event_bits_in(arena, graph->count);
    auth_chains_add(arena, graph, list, (struct event_bits){0}, members);
    for (size_t i = 0; i < list.count; i++)
        event_bits_add(members, list.at[i]);

    struct event_list all = event_bits_list(arena, members);
    struct sorting sorting = {
        .graph = graph,
        .events = events,
        .create = create,
        .pending = arena_new_array(arena, graph->count, uint32_t),
        .cited_by = cited_by_members(arena, graph, members),
        .free = {arena_new_array(arena, list.count, struct candidate), 0},
        .passing = arena_new_array(arena, all.count, uint32_t),
    };
    for (size_t i = 0; i < all.count; i++)
        if ((sorting.pending[all.at[i]] = graph->nodes[all.at[i]].auth_count) == 0)
            release(&sorting, all.at[i]);
    while (sorting.passing_count || sorting.free.count) {
        while (sorting.passing_count)
            take_out(&sorting, sorting.passing[--sorting.passing_count]);
        if (sorting.free.count == 0)
            break;
        uint32_t event = heap_pop(&sorting.free).event;
        sorted.at[sorted.count++] = event;
        take_out(&sorting, event);
    }
    ensure(sorted.count == list.count); /* the loader keeps cycles out */
    return sorted;
}
