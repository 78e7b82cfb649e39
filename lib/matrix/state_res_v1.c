/* State resolution of room version 1: conflicts are settled in passes (power levels, join rules, members, the rest) by depth and
 * by sha1 of the event id, each pass against the result of those before it. Known to reset state; kept for old rooms.
 * Where the page is silent we do as Synapse does, whose behaviour it describes: the keys of one pass do not see each other, and
 * when none of the other events passes the rules, the one of least depth is taken. */
#include <openssl/evp.h>
#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/matrix/state_res_steps.h"

enum { SHA1_BYTES = 20 };

struct ranked {
    int64_t depth;
    unsigned char sha1[SHA1_BYTES];
    uint32_t event;
};

/* "ascending depth then descending sha1(event_id)" */
static int ranked_order(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->depth != b->depth)
        return a->depth < b->depth ? -1 : 1;
    return -memcmp(a->sha1, b->sha1, SHA1_BYTES);
}

static struct ranked *rank(struct arena *arena, const struct auth_graph *graph, const struct state_entry *entries, size_t count)
{
    struct ranked *ranked = arena_new_array(arena, count, struct ranked);
    for (size_t i = 0; i < count; i++) {
        const struct event *event = graph->nodes[entries[i].event].event;
        ranked[i].depth = event->depth;
        ranked[i].event = entries[i].event;
        ensure(EVP_Digest(event->event_id.at, event->event_id.len, ranked[i].sha1, NULL, EVP_sha1(), NULL) == 1);
    }
    qsort(ranked, count, sizeof *ranked, ranked_order);
    return ranked;
}

/* "Add the first event in the list to R. For each subsequent event …, if the event would be allowed, then update R …. If it would
 * not be allowed, stop." Leaves R without the key: it is set when the pass is over. */
static uint32_t settle_auth_conflict(struct partial_state *state, const struct ranked *ranked, size_t count)
{
    uint32_t chosen = ranked[0].event;
    for (size_t i = 1; i < count; i++) {
        partial_state_set(state, chosen, 0);
        if (!partial_state_allows(state, ranked[i].event, false))
            break;
        chosen = ranked[i].event;
    }
    partial_state_clear(state, chosen);
    return chosen;
}

/* "pick the event with the highest depth and lowest sha1(event_id) that passes authentication in R" */
static uint32_t settle_other_conflict(struct partial_state *state, const struct ranked *ranked, size_t count)
{
    for (size_t i = count; i-- > 0;)
        if (partial_state_allows(state, ranked[i].event, false))
            return ranked[i].event;
    return ranked[0].event;
}

enum pass { PASS_POWER_LEVELS, PASS_JOIN_RULES, PASS_MEMBERS, PASS_OTHERS };

static enum pass pass_of(const struct event *event)
{
    if (event_is(event, "m.room.power_levels"))
        return PASS_POWER_LEVELS;
    if (event_is(event, "m.room.join_rules"))
        return PASS_JOIN_RULES;
    return event_is(event, "m.room.member") ? PASS_MEMBERS : PASS_OTHERS;
}

static void settle_pass(struct arena *arena, const struct auth_graph *graph, struct partial_state *state,
                        struct state_set conflicted, enum pass pass)
{
    struct state_entry *settled = arena_new_array(arena, conflicted.count, struct state_entry);
    size_t settled_count = 0;
    for (size_t first = 0, next; first < conflicted.count; first = next) {
        const struct state_entry *entries = &conflicted.entries[first];
        for (next = first + 1; next < conflicted.count && conflicted.entries[next].key == entries->key;)
            next++;
        if (pass_of(graph->nodes[entries->event].event) != pass)
            continue;
        struct ranked *ranked = rank(arena, graph, entries, next - first);
        uint32_t chosen = pass == PASS_OTHERS ? settle_other_conflict(state, ranked, next - first)
                                              : settle_auth_conflict(state, ranked, next - first);
        settled[settled_count++] = (struct state_entry){entries->key, chosen};
    }
    for (size_t i = 0; i < settled_count; i++)
        partial_state_set(state, settled[i].event, settled[i].key);
}

void state_resolve_v1(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                      const struct conflicts *conflicts, struct state_set *out)
{
    size_t capacity = conflicts->unconflicted.count + conflicts->conflicted.count;
    struct partial_state *state = partial_state_create(arena, version, graph, capacity);
    for (size_t i = 0; i < conflicts->unconflicted.count; i++)
        partial_state_set(state, conflicts->unconflicted.entries[i].event, conflicts->unconflicted.entries[i].key);
    for (enum pass pass = PASS_POWER_LEVELS; pass <= PASS_OTHERS; pass++)
        settle_pass(arena, graph, state, conflicts->conflicted, pass);
    *out = partial_state_under(state, conflicts->unconflicted);
}
