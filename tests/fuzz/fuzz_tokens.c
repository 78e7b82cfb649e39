/* Tokens of /sync and of timelines: what parses is the same after being written and read again, and all readers of a /sync token
 * read the same in it. */
#include "lib/base/ensure.h"
#include "lib/store/timeline_token.h"
#include "workers/sync/token.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool equal(struct i64s a, struct i64s b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len * sizeof *a.at) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1 << 26);
    struct slice text = slice_of(data, size);
    struct sync_token token, again;
    struct timeline_point point, same;
    bool is_point = timeline_token_parse(arena, text, &point);
    if (is_point && point.is_place) {
        ensure(point.before >= TIMELINE_FIRST && point.before <= TIMELINE_LAST);
        ensure(timeline_token_parse(arena, timeline_token(arena, point.before), &same) && same.before == point.before);
    }
    if (sync_token_parse(arena, text, &token)) {
        ensure(is_point && !point.is_place && point.xmin == token.xmin && point.xmax == token.xmax);
        ensure(equal(point.running, token.running) && equal(point.delivered, token.delivered));
        ensure(sync_token_parse(arena, sync_token_format(arena, &token), &again));
        ensure(again.xmin == token.xmin && again.xmax == token.xmax && again.to_device_seq == token.to_device_seq);
        ensure(again.serial == token.serial && again.presence == token.presence);
        ensure(equal(again.running, token.running) && equal(again.delivered, token.delivered));
        ensure(sync_token_take_snapshot(arena, sync_token_snapshot(arena, &token), &again));
        for (int64_t pos = token.xmin, i = 0; i < 64 && pos < token.xmax; pos++, i++)
            ensure(sync_token_saw(&again, pos) == sync_token_saw(&token, pos));
    }
    sync_token_take_snapshot(arena, text, &token);
    arena_destroy(&arena);
    return 0;
}
