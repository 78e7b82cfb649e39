/* "Mainline ordering": how old the power levels are that an event relies on. The walk from an event to the mainline is shared
 * by all events that pass the same power levels, so each power levels event is walked once. */
#include <stdlib.h>

#include "lib/matrix/state_res_steps.h"

enum { POSITION_UNKNOWN = 0, POSITION_NEVER = INT32_MAX }; /* others: index in the mainline + 1 */

bool node_is_power_levels(const struct auth_graph_node *node)
{
    return node->event ? event_is_state_of(node->event, "m.room.power_levels", SLICE("")) : node->is_power_levels;
}

uint32_t cited_power_levels(const struct auth_graph *graph, uint32_t event)
{
    const struct auth_graph_node *node = &graph->nodes[event];
    for (uint32_t i = 0; i < node->auth_count; i++)
        if (node_is_power_levels(&graph->nodes[node->auth[i]]))
            return node->auth[i];
    return EVENT_NONE;
}

/* The position of the first event of the mainline on the way down from `levels`; what was walked is marked with it. */
static int32_t position_from(const struct auth_graph *graph, int32_t *positions, uint32_t levels)
{
    uint32_t at = levels;
    while (at != EVENT_NONE && positions[at] == POSITION_UNKNOWN)
        at = cited_power_levels(graph, at);
    int32_t position = at == EVENT_NONE ? POSITION_NEVER : positions[at];
    for (at = levels; at != EVENT_NONE && positions[at] == POSITION_UNKNOWN; at = cited_power_levels(graph, at))
        positions[at] = position;
    return position;
}

struct placed {
    int32_t position;
    int64_t timestamp_ms;
    struct slice event_id;
    uint32_t event;
};

/* Greater positions, which are older power levels, come first. */
static int placed_order(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    if (a->position != b->position)
        return a->position > b->position ? -1 : 1;
    if (a->timestamp_ms != b->timestamp_ms)
        return a->timestamp_ms < b->timestamp_ms ? -1 : 1;
    return slice_cmp(a->event_id, b->event_id);
}

void mainline_order(struct arena *arena, const struct auth_graph *graph, uint32_t power_levels, struct event_list events)
{
    int32_t *positions = arena_new_array(arena, graph->count, int32_t);
    int32_t next = 1;
    for (uint32_t at = power_levels; at != EVENT_NONE; at = cited_power_levels(graph, at))
        positions[at] = next++;

    struct placed *placed = arena_new_array(arena, events.count, struct placed);
    for (size_t i = 0; i < events.count; i++) {
        const struct event *event = graph->nodes[events.at[i]].event;
        placed[i] = (struct placed){
            .position = position_from(graph, positions, cited_power_levels(graph, events.at[i])),
            .timestamp_ms = event->origin_server_ts,
            .event_id = event->event_id,
            .event = events.at[i],
        };
    }
    qsort(placed, events.count, sizeof *placed, placed_order);
    for (size_t i = 0; i < events.count; i++)
        events.at[i] = placed[i].event;
}
