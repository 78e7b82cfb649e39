/* Shared between the files of state resolution; nobody else includes it. Events are indices into the graph, sets of events are
 * bitsets over it, and every walk visits an event once: a resolution costs O(events + auth edges) per state set, plus sorting
 * what is in conflict. */
#ifndef MYELIN_MATRIX_STATE_RES_STEPS_H
#define MYELIN_MATRIX_STATE_RES_STEPS_H

#include "lib/matrix/state_res.h"

#define EVENT_NONE UINT32_MAX

/* Events as a set. */
struct event_bits {
    uint64_t *words;
    uint32_t count; /* of bits: the graph's events */
};
/* Events as a list; capacity is known to whoever allocates it. */
struct event_list {
    uint32_t *at;
    size_t count;
};

struct event_bits event_bits_in(struct arena *arena, uint32_t count);
struct event_list event_bits_list(struct arena *arena, struct event_bits bits); /* ascending by index */

static inline bool event_bits_has(struct event_bits bits, uint32_t event)
{
    return bits.words[event / 64] >> (event % 64) & 1;
}
static inline void event_bits_add(struct event_bits bits, uint32_t event)
{
    bits.words[event / 64] |= UINT64_C(1) << (event % 64);
}

/* Auth edges turned round: the members that name an event among their auth events. */
struct cited_by {
    const uint32_t *from; /* of event e: at[from[e]] … at[from[e + 1]] */
    const uint32_t *at;
};

/* state_res_chains.c: walks over the auth graph. */
/* Adds the auth chains of roots (not the roots themselves) to chain; does not enter events that are in `known`, whose own
 * chains must be in it. known.words may be NULL. */
void auth_chains_add(struct arena *arena, const struct auth_graph *graph, struct event_list roots, struct event_bits known,
                     struct event_bits chain);
struct cited_by cited_by_members(struct arena *arena, const struct auth_graph *graph, struct event_bits members);

/* state_res_conflicts.c: "Unconflicted state map and conflicted state set", "Full conflicted set". */
struct conflicts {
    struct state_set unconflicted;
    struct state_set conflicted; /* every value of a conflicted key once, ascending by key */
    struct event_list *of_set;   /* the conflicted events of each set */
};
/* missing_is_conflict: version 2 and later ("present in every S_i with the same value"); version 1 compares what there is. */
struct conflicts conflicts_between(struct arena *arena, const struct state_set *sets, size_t set_count, bool missing_is_conflict);
/* Where the auth chains of the sets' conflicted events differ; false: nowhere. */
bool chains_difference(struct arena *arena, const struct auth_graph *graph, const struct conflicts *conflicts, size_t set_count,
                       struct event_bits out);
struct event_bits full_conflicted_set(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                                      const struct conflicts *conflicts, size_t set_count);

/* state_res_partial.c: the state under construction, looked up by (type, state_key). */
struct partial_state;
struct partial_state *partial_state_create(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                                           size_t capacity);                      /* keys it will ever hold */
void partial_state_set(struct partial_state *state, uint32_t event, int64_t key); /* key 0: that of the graph's node, if any */
void partial_state_clear(struct partial_state *state, uint32_t event);            /* of the same (type, state_key) */
uint32_t partial_state_get(const struct partial_state *state, const char *type, struct slice state_key);
/* The key is remembered, without a value. */
void partial_state_name(struct partial_state *state, uint32_t event, int64_t key);
/* For version 12, whose events do not cite it: what "m.room.create" finds when the state has none. */
void partial_state_assume_create(struct partial_state *state, uint32_t create);
/* The authorisation rules on this state; cite: with "the appropriate state event from the event's auth_events" where it lacks one.
 */
bool partial_state_allows(const struct partial_state *state, uint32_t event, bool cite);
/* "Iterative auth checks" */
void iterative_auth_checks(struct partial_state *state, struct event_list events);
/* The state, with what `over` has in its place; ascending by key. */
struct state_set partial_state_under(const struct partial_state *state, struct state_set over);

/* state_res_power_order.c */
bool is_power_event(const struct event *event);
struct event_list reverse_topological_power_ordering(struct arena *arena, const struct auth_graph *graph, struct event_bits events,
                                                     uint32_t create);
/* state_res_mainline.c; power_levels may be EVENT_NONE. Sorts in place. */
void mainline_order(struct arena *arena, const struct auth_graph *graph, uint32_t power_levels, struct event_list events);
bool node_is_power_levels(const struct auth_graph_node *node);
uint32_t cited_power_levels(const struct auth_graph *graph, uint32_t event); /* EVENT_NONE */

/* state_res_v1.c */
void state_resolve_v1(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                      const struct conflicts *conflicts, struct state_set *out);

#endif
