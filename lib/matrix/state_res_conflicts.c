/* What the state sets disagree about, and what of the auth graph has to be looked at again because of it. */
#include "lib/base/ensure.h"
#include "lib/matrix/state_res_steps.h"

/* The sets are sorted, so they are read side by side: one key at a time, a cursor per set. */
struct reader {
    const struct state_set *sets;
    size_t set_count;
    size_t *cursors;
};

static bool reader_next_key(const struct reader *reader, int64_t *key)
{
    bool found = false;
    for (size_t s = 0; s < reader->set_count; s++) {
        if (reader->cursors[s] == reader->sets[s].count)
            continue;
        int64_t here = reader->sets[s].entries[reader->cursors[s]].key;
        if (!found || here < *key)
            *key = here;
        found = true;
    }
    return found;
}

static const struct state_entry *reader_entry(const struct reader *reader, size_t set, int64_t key)
{
    size_t cursor = reader->cursors[set];
    if (cursor == reader->sets[set].count || reader->sets[set].entries[cursor].key != key)
        return NULL;
    return &reader->sets[set].entries[cursor];
}

/* The event all sets have for this key; EVENT_NONE when they differ, or when a set has none and that counts. */
static uint32_t common_event(const struct reader *reader, int64_t key, bool missing_is_conflict)
{
    uint32_t common = EVENT_NONE;
    for (size_t s = 0; s < reader->set_count; s++) {
        const struct state_entry *entry = reader_entry(reader, s, key);
        if (!entry && missing_is_conflict)
            return EVENT_NONE;
        if (!entry)
            continue;
        if (common != EVENT_NONE && common != entry->event)
            return EVENT_NONE;
        common = entry->event;
    }
    return common;
}

/* Adds the entry to those of its key, which begin at first. A key has at most as many values as there are sets. */
static void add_value(struct state_entry *entries, size_t *count, size_t first, const struct state_entry *entry)
{
    for (size_t i = first; i < *count; i++)
        if (entries[i].event == entry->event)
            return;
    entries[(*count)++] = *entry;
}

struct conflicts conflicts_between(struct arena *arena, const struct state_set *sets, size_t set_count, bool missing_is_conflict)
{
    size_t total = 0;
    for (size_t s = 0; s < set_count; s++)
        total += sets[s].count;
    struct reader reader = {sets, set_count, arena_new_array(arena, set_count, size_t)};
    struct state_entry *unconflicted = arena_new_array(arena, total, struct state_entry);
    struct state_entry *conflicted = arena_new_array(arena, total, struct state_entry);
    struct event_list *of_set = arena_new_array(arena, set_count, struct event_list);
    size_t unconflicted_count = 0, conflicted_count = 0;
    for (size_t s = 0; s < set_count; s++)
        of_set[s].at = arena_new_array(arena, sets[s].count, uint32_t);

    for (int64_t key = 0; reader_next_key(&reader, &key);) {
        uint32_t common = common_event(&reader, key, missing_is_conflict);
        size_t first = conflicted_count;
        if (common != EVENT_NONE)
            unconflicted[unconflicted_count++] = (struct state_entry){key, common};
        for (size_t s = 0; s < set_count; s++) {
            const struct state_entry *entry = reader_entry(&reader, s, key);
            if (!entry)
                continue;
            reader.cursors[s]++;
            if (common != EVENT_NONE)
                continue;
            add_value(conflicted, &conflicted_count, first, entry);
            of_set[s].at[of_set[s].count++] = entry->event;
        }
    }
    return (struct conflicts){{unconflicted, unconflicted_count}, {conflicted, conflicted_count}, of_set};
}

static struct event_list events_of(struct arena *arena, struct state_set set)
{
    struct event_list list = {arena_new_array(arena, set.count, uint32_t), set.count};
    for (size_t i = 0; i < set.count; i++)
        list.at[i] = set.entries[i].event;
    return list;
}

bool chains_difference(struct arena *arena, const struct auth_graph *graph, const struct conflicts *conflicts, size_t set_count,
                       struct event_bits out)
{
    struct event_bits in_all = event_bits_in(arena, graph->count), chain = event_bits_in(arena, graph->count);
    uint32_t words = graph->count / 64 + 1;
    bool differ = false;
    for (size_t s = 0; s < set_count; s++) {
        memset(chain.words, 0, words * sizeof *chain.words);
        auth_chains_add(arena, graph, conflicts->of_set[s], (struct event_bits){0}, chain);
        for (uint32_t w = 0; w < words; w++) {
            out.words[w] |= chain.words[w];
            in_all.words[w] = s == 0 ? chain.words[w] : in_all.words[w] & chain.words[w];
        }
    }
    for (uint32_t w = 0; w < words; w++) {
        out.words[w] &= ~in_all.words[w];
        differ |= out.words[w] != 0;
    }
    return differ;
}

/* "Auth difference": the union of the sets' auth chains without their intersection. The chain of what they agree about is part of
 * every set's chain; so it is only walked when the others differ, to take it out of the difference. */
static void add_auth_difference(struct arena *arena, const struct auth_graph *graph, const struct conflicts *conflicts,
                                size_t set_count, struct event_bits full)
{
    struct event_bits difference = event_bits_in(arena, graph->count), common = event_bits_in(arena, graph->count);
    if (!chains_difference(arena, graph, conflicts, set_count, difference))
        return;
    struct event_list left_out = {(uint32_t *)(uintptr_t)graph->common, graph->common_count};
    auth_chains_add(arena, graph, events_of(arena, conflicts->unconflicted), (struct event_bits){0}, common);
    auth_chains_add(arena, graph, left_out, (struct event_bits){0}, common);
    for (uint32_t w = 0; w <= graph->count / 64; w++)
        full.words[w] |= difference.words[w] & ~common.words[w];
}

/* "Conflicted state subgraph" (version 12): what lies on a path of auth edges between two conflicted events. Down from all of
 * them, then up again from all of them inside what was reached. */
static void add_conflicted_subgraph(struct arena *arena, const struct auth_graph *graph, struct event_list conflicted,
                                    struct event_bits full)
{
    struct event_bits reached = event_bits_in(arena, graph->count);
    auth_chains_add(arena, graph, conflicted, (struct event_bits){0}, reached);
    for (size_t i = 0; i < conflicted.count; i++)
        event_bits_add(reached, conflicted.at[i]);
    struct cited_by cited_by = cited_by_members(arena, graph, reached);

    struct event_bits climbed = event_bits_in(arena, graph->count);
    uint32_t *stack = arena_new_array(arena, graph->count, uint32_t);
    size_t top = 0;
    for (size_t i = 0; i < conflicted.count; i++) {
        if (event_bits_has(climbed, conflicted.at[i]))
            continue;
        event_bits_add(climbed, conflicted.at[i]);
        stack[top++] = conflicted.at[i];
        while (top) {
            uint32_t event = stack[--top];
            event_bits_add(full, event);
            for (uint32_t c = cited_by.from[event]; c < cited_by.from[event + 1]; c++) {
                if (event_bits_has(climbed, cited_by.at[c]))
                    continue;
                event_bits_add(climbed, cited_by.at[c]);
                stack[top++] = cited_by.at[c];
            }
        }
    }
}

struct event_bits full_conflicted_set(struct arena *arena, const struct room_version *version, const struct auth_graph *graph,
                                      const struct conflicts *conflicts, size_t set_count)
{
    struct event_list conflicted = events_of(arena, conflicts->conflicted);
    struct event_bits full = event_bits_in(arena, graph->count);
    for (size_t i = 0; i < conflicted.count; i++) {
        ensure(conflicted.at[i] < graph->count);
        event_bits_add(full, conflicted.at[i]);
    }
    if (version->state_res == STATE_RES_V2_1)
        add_conflicted_subgraph(arena, graph, conflicted, full);
    add_auth_difference(arena, graph, conflicts, set_count, full);
    return full;
}
