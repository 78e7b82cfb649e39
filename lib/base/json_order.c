/* Bottom-up merge sort over runs made by insertion. Most comparisons end at the eight bytes of prefix, without memcmp. */
#include "lib/base/json_order.h"

#include <endian.h>

enum { RUN = 16 };

/* Short keys are filled up with zeros: "a" and "a\0" tie here, and the whole keys decide. */
static uint64_t prefix_of(struct slice key)
{
    uint64_t bytes = 0;
    if (key.len)
        memcpy(&bytes, key.at, key.len < sizeof bytes ? key.len : sizeof bytes);
    return be64toh(bytes);
}

static bool is_before(const struct json_ordered *a, const struct json_ordered *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix;
    return slice_cmp(a->member->key, b->member->key) < 0;
}

static void sort_run(struct json_ordered *at, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct json_ordered moving = at[i];
        size_t to = i;
        for (; to > 0 && is_before(&moving, &at[to - 1]); to--)
            at[to] = at[to - 1];
        at[to] = moving;
    }
}

static void merge(const struct json_ordered *left, const struct json_ordered *right, const struct json_ordered *end,
                  struct json_ordered *out)
{
    const struct json_ordered *middle = right;
    while (left < middle && right < end)
        *out++ = is_before(right, left) ? *right++ : *left++;
    while (left < middle)
        *out++ = *left++;
    while (right < end)
        *out++ = *right++;
}

static struct json_ordered *sort(struct json_ordered *from, struct json_ordered *to, size_t count)
{
    for (size_t run = RUN; run < count; run *= 2) {
        for (size_t start = 0; start < count; start += 2 * run) {
            size_t middle = start + run < count ? start + run : count;
            size_t end = middle + run < count ? middle + run : count;
            merge(from + start, from + middle, from + end, to + start);
        }
        struct json_ordered *sorted = to;
        to = from;
        from = sorted;
    }
    return from;
}

struct json_ordered *json_order(struct arena *arena, const struct json *object)
{
    size_t count = object->count, i = 0;
    struct json_ordered *order = arena_alloc_raw(arena, count * sizeof *order);
    json_each (member, object)
        order[i++] = (struct json_ordered){prefix_of(member->key), member};
    for (size_t start = 0; start < count; start += RUN)
        sort_run(order + start, count - start < RUN ? count - start : RUN);
    return count > RUN ? sort(order, arena_alloc_raw(arena, count * sizeof *order), count) : order;
}
