/* Packed deltas of state snapshots, as a damaged row would hold them. The first byte says how many bytes the first of two deltas
 * has. What decodes is sorted, and encodes to bytes that decode to the same; merging and applying agree. */
#include "lib/base/ensure.h"
#include "lib/store/state_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool are_equal(struct state_map a, struct state_map b)
{
    for (size_t i = 0; i < a.count && i < b.count; i++)
        if (a.pairs[i].key != b.pairs[i].key || a.pairs[i].event != b.pairs[i].event)
            return false;
    return a.count == b.count;
}

static bool take(struct arena *arena, struct slice bytes, struct state_map *out)
{
    struct state_map again;
    if (!state_delta_decode(arena, bytes, out))
        return false;
    for (size_t i = 1; i < out->count; i++)
        ensure(out->pairs[i - 1].key < out->pairs[i].key);
    ensure(state_delta_decode(arena, state_delta_encode(arena, *out), &again) && are_equal(*out, again));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct arena *arena = arena_create(1 << 28);
    struct slice bytes = slice_of(data + 1, size - 1);
    struct state_map lower, upper, none = {NULL, 0};
    bool both = take(arena, slice_sub(bytes, 0, data[0]), &lower);
    both = take(arena, slice_sub(bytes, data[0], SIZE_MAX), &upper) && both;
    if (both) {
        struct state_map base = state_map_apply(arena, none, lower), twice = state_map_apply(arena, base, upper);
        ensure(are_equal(twice, state_map_apply(arena, none, state_delta_merge(arena, lower, upper))));
        ensure(are_equal(state_map_apply(arena, base, state_map_diff(arena, base, twice)), twice));
        for (size_t i = 0; i < twice.count; i++)
            ensure(twice.pairs[i].event != 0 && state_map_get(twice, twice.pairs[i].key) == twice.pairs[i].event);
    }
    arena_destroy(&arena);
    return 0;
}
