/* Walks over the auth graph, each event entered once, with a stack of our own: a chain may be a hundred thousand events deep. */
#include "lib/matrix/state_res_steps.h"

struct event_bits event_bits_in(struct arena *arena, uint32_t count)
{
    return (struct event_bits){arena_new_array(arena, count / 64 + 1, uint64_t), count};
}

struct event_list event_bits_list(struct arena *arena, struct event_bits bits)
{
    size_t count = 0;
    for (uint32_t word = 0; word <= bits.count / 64; word++)
        count += (size_t)__builtin_popcountll(bits.words[word]);
    struct event_list list = {arena_new_array(arena, count, uint32_t), 0};
    for (uint32_t word = 0; word <= bits.count / 64; word++)
        for (uint64_t left = bits.words[word]; left; left &= left - 1)
            list.at[list.count++] = word * 64 + (uint32_t)__builtin_ctzll(left);
    return list;
}

void auth_chains_add(struct arena *arena, const struct auth_graph *graph, struct event_list roots, struct event_bits known,
                     struct event_bits chain)
{
    uint32_t *stack = arena_new_array(arena, graph->count, uint32_t); /* each event is pushed once */
    for (size_t r = 0; r < roots.count; r++) {
        size_t top = 0;
        for (uint32_t from = roots.at[r];; from = stack[--top]) {
            const struct auth_graph_node *node = &graph->nodes[from];
            for (uint32_t i = 0; i < node->auth_count; i++) {
                uint32_t cited = node->auth[i];
                if (event_bits_has(chain, cited) || (known.words && event_bits_has(known, cited)))
                    continue;
                event_bits_add(chain, cited);
                stack[top++] = cited;
            }
            if (top == 0)
                break;
        }
    }
}

struct cited_by cited_by_members(struct arena *arena, const struct auth_graph *graph, struct event_bits members)
{
    struct event_list list = event_bits_list(arena, members);
    uint32_t *from = arena_new_array(arena, (size_t)graph->count + 2, uint32_t);
    /* Counted two places further on; after the sums, from[e + 1] is where e's run begins, and filling moves it to its end. */
    for (size_t m = 0; m < list.count; m++)
        for (uint32_t i = 0; i < graph->nodes[list.at[m]].auth_count; i++)
            from[graph->nodes[list.at[m]].auth[i] + 2]++;
    for (uint32_t e = 0; e < graph->count; e++)
        from[e + 2] += from[e + 1];
    uint32_t *at = arena_new_array(arena, from[graph->count + 1], uint32_t);
    for (size_t m = 0; m < list.count; m++)
        for (uint32_t i = 0; i < graph->nodes[list.at[m]].auth_count; i++)
            at[from[graph->nodes[list.at[m]].auth[i] + 1]++] = list.at[m];
    return (struct cited_by){from, at};
}
