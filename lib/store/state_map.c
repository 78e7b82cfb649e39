/* Pure part of the layered state store; see state_map.h for the scheme. */
#include "lib/store/state_map.h"

#include <stdlib.h>

int64_t state_map_get(struct state_map map, int64_t key)
{
    size_t low = 0, high = map.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (map.pairs[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < map.count && map.pairs[low].key == key ? map.pairs[low].event : 0;
}

/* Both walks below are the same merge of two sorted lists; keep_removals tells a delta from a whole state. */
static struct state_map merge(struct arena *arena, struct state_map lower, struct state_map upper, bool keep_removals)
{
    struct state_pair *pairs = arena_new_array(arena, lower.count + upper.count, struct state_pair);
    size_t count = 0, a = 0, b = 0;
    while (a < lower.count || b < upper.count) {
        if (b == upper.count || (a < lower.count && lower.pairs[a].key < upper.pairs[b].key)) {
            pairs[count++] = lower.pairs[a++];
            continue;
        }
        if (a < lower.count && lower.pairs[a].key == upper.pairs[b].key)
            a++;
        if (upper.pairs[b].event != 0 || keep_removals)
            pairs[count++] = upper.pairs[b];
        b++;
    }
    return (struct state_map){pairs, count};
}

struct state_map state_map_apply(struct arena *arena, struct state_map base, struct state_map changes)
{
    if (changes.count == 0)
        return base;
    return merge(arena, base, changes, false);
}

struct state_map state_delta_merge(struct arena *arena, struct state_map lower, struct state_map upper)
{
    return merge(arena, lower, upper, true);
}

bool state_maps_equal(struct state_map a, struct state_map b)
{
    return a.count == b.count && (a.count == 0 || a.pairs == b.pairs || memcmp(a.pairs, b.pairs, a.count * sizeof *a.pairs) == 0);
}

/* The next pair of the delta from one to the other; false at the end. */
static bool diff_next(struct state_map from, struct state_map to, size_t *a, size_t *b, struct state_pair *out)
{
    while (*a < from.count || *b < to.count) {
        if (*b == to.count || (*a < from.count && from.pairs[*a].key < to.pairs[*b].key)) {
            *out = (struct state_pair){from.pairs[(*a)++].key, 0};
            return true;
        }
        *out = to.pairs[(*b)++];
        if (*a == from.count || out->key < from.pairs[*a].key)
            return true;
        if (from.pairs[(*a)++].event != out->event)
            return true;
    }
    return false;
}

size_t state_map_distance(struct state_map from, struct state_map to)
{
    struct state_pair pair;
    size_t count = 0;
    if (from.pairs == to.pairs && from.count == to.count)
        return 0;
    for (size_t a = 0, b = 0; diff_next(from, to, &a, &b, &pair);)
        count++;
    return count;
}

struct state_map state_map_diff(struct arena *arena, struct state_map from, struct state_map to)
{
    size_t distance = state_map_distance(from, to), count = 0;
    struct state_pair *pairs = arena_new_array(arena, distance, struct state_pair), pair;
    for (size_t a = 0, b = 0; count < distance && diff_next(from, to, &a, &b, &pair);)
        pairs[count++] = pair;
    return (struct state_map){pairs, count};
}

struct ordered_pair {
    struct state_pair pair;
    size_t order;
};

static int by_key_then_order(const void *left, const void *right)
{
    const struct ordered_pair *a = left, *b = right;
    if (a->pair.key != b->pair.key)
        return a->pair.key < b->pair.key ? -1 : 1;
    return (a->order > b->order) - (a->order < b->order);
}

struct state_map state_map_from(struct arena *arena, const struct state_pair *pairs, size_t count)
{
    struct ordered_pair *sorted = arena_new_array(arena, count, struct ordered_pair);
    for (size_t i = 0; i < count; i++)
        sorted[i] = (struct ordered_pair){pairs[i], i};
    qsort(sorted, count, sizeof *sorted, by_key_then_order);
    struct state_pair *unique = arena_new_array(arena, count, struct state_pair);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && sorted[i + 1].pair.key == sorted[i].pair.key)
            continue;
        unique[kept++] = sorted[i].pair;
    }
    return (struct state_map){unique, kept};
}

/* ---- bytes: count, then for each pair the key's distance from the one before and the event, as LEB128. Event nids are large and
 * near each other, so they go as zigzag differences too; 0 (removed) is told apart by a flag bit in the key's varint. */
static size_t varint_write(uint8_t *out, uint64_t value)
{
    size_t length = 0;
    while (value >= 0x80) {
        out[length++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[length++] = (uint8_t)value;
    return length;
}

static bool varint_read(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (*at == end)
            return false;
        uint8_t byte = *(*at)++;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = result;
            return true;
        }
    }
    return false;
}

static uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

struct slice state_delta_encode(struct arena *arena, struct state_map delta)
{
    uint8_t *bytes = arena_alloc(arena, 10 + delta.count * 20);
    size_t length = varint_write(bytes, delta.count);
    int64_t key = 0, event = 0;
    for (size_t i = 0; i < delta.count; i++) {
        const struct state_pair *pair = &delta.pairs[i];
        bool removed = pair->event == 0;
        length += varint_write(bytes + length, (uint64_t)(pair->key - key) << 1 | removed);
        key = pair->key;
        if (removed)
            continue;
        length += varint_write(bytes + length, zigzag(pair->event - event));
        event = pair->event;
    }
    return slice_of(bytes, length);
}

bool state_delta_decode(struct arena *arena, struct slice bytes, struct state_map *out)
{
    const uint8_t *at = (const uint8_t *)bytes.at, *end = at + bytes.len;
    uint64_t count;
    if (!varint_read(&at, end, &count) || count > bytes.len)
        return false;
    struct state_pair *pairs = arena_new_array(arena, count, struct state_pair);
    uint64_t key = 0, event = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t step, change;
        if (!varint_read(&at, end, &step) || (i && step >> 1 == 0) || step >> 1 > INT64_MAX - key)
            return false; /* keys rise */
        key += step >> 1;
        pairs[i].key = (int64_t)key;
        if (step & 1)
            continue;
        if (!varint_read(&at, end, &change))
            return false;
        event += (uint64_t)unzigzag(change);
        pairs[i].event = (int64_t)event;
        if (event == 0 || event > INT64_MAX)
            return false; /* nids are positive, and a removal is written as one */
    }
    if (at != end)
        return false;
    *out = (struct state_map){pairs, count};
    return true;
}

struct state_map state_chain_read(struct arena *arena, const struct state_layer *chain, size_t count)
{
    struct state_map state = {NULL, 0};
    for (size_t i = count; i-- > 0;)
        state = state_map_apply(arena, state, chain[i].delta);
    return state;
}

struct state_map state_chain_push(struct arena *arena, const struct state_layer *chain, size_t count, struct state_map changes,
                                  int64_t *base_nid, int *layers_below)
{
    size_t top = 0;
    while (top < count && chain[top].delta.count < 2 * changes.count)
        changes = state_delta_merge(arena, chain[top++].delta, changes);
    if (top == count) /* nothing below: removals have nothing to remove */
        changes = state_map_apply(arena, (struct state_map){NULL, 0}, changes);
    *base_nid = top < count ? chain[top].snapshot_nid : 0;
    *layers_below = (int)(count - top);
    return changes;
}
