/* The log of hints against a naive one: what a reader is told since he last looked, and when it cannot tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/map.h"
#include "workers/sync/counters.h"
#include "workers/sync/ring.c"
#include "workers/sync/token.c"

struct sync_counters counters;

enum { ROOMS = 12, STEPS = 20000, LIMIT = 20000 };

struct naive {
    int room;
    int64_t heard, pos, nid;
    bool odd;
} history[STEPS];
static size_t history_count;
static char names[ROOMS][16];

static struct slice name_of(int room)
{
    return slice_from_cstr(names[room]);
}

static void hear(int64_t pos, unsigned roll)
{
    int room = (int)(roll % ROOMS);
    bool odd = roll / ROOMS % 16 == 0;
    char json[64];
    int length = snprintf(json, sizeof json, "{\"content\":{\"n\":%lld}}", (long long)pos);
    struct stream_event event = {.room_id = name_of(room),
                                 .event_id = SLICE("$x"),
                                 .type = SLICE("m.room.message"),
                                 .state_key = odd ? SLICE("") : SLICE_ABSENT,
                                 .sender = SLICE("@a:b"),
                                 .event_nid = pos * 10,
                                 .room_pos = pos,
                                 .json = slice_of(json, (size_t)length),
                                 .local = true};
    ring_hear_event(&event, pos);
    history[history_count++] = (struct naive){room, ring_heard(), pos, pos * 10, odd};
}

/* The same question to the history. Evictions are the ring's business: only there may it be unsure more often. */
static void compare(struct map *mine, bool in[ROOMS], const struct sync_token *base, int64_t after, size_t *told)
{
    struct ring_question question = {.user_id = SLICE("@me:b"), .base = base, .after = after, .rooms = mine};
    struct ring_found found;
    bool sure = ring_ask(&question, &found), odd = false;
    size_t at = 0;
    for (size_t i = 0; i < history_count; i++) {
        const struct naive *one = &history[i];
        if (one->heard <= after || !in[one->room] || sync_token_saw(base, one->pos))
            continue;
        odd |= one->odd;
        if (one->odd || sync_token_got(base, one->nid) || !sure)
            continue;
        assert_true(at < found.count);
        assert_int_equal(found.entries[at++]->event_nid, one->nid);
    }
    if (sure) {
        assert_false(odd);
        assert_int_equal(at, found.count);
        assert_true(after >= lost_heard);
        ++*told;
    } else {
        assert_true(odd || after < lost_heard || after < gap_heard);
    }
    ring_let_go(&found);
}

static void test_against_naive(void **state)
{
    size_t told = 0;
    srandom(7);
    ring_start(LIMIT);
    for (int64_t pos = 1; pos < STEPS; pos++) {
        hear(pos, (unsigned)random());
        assert_true(bytes <= LIMIT);
        if (pos % 1999 == 0)
            ring_hear_gap();
        if (pos % 7)
            continue;
        struct map *mine = map_create(NULL);
        bool in[ROOMS];
        for (int i = 0; i < ROOMS; i++)
            if ((in[i] = random() % 3 == 0))
                map_put(mine, name_of(i), NULL);
        int64_t delivered[2] = {(pos - random() % 20) * 10, pos * 10};
        struct sync_token base = {.xmin = pos - random() % 40, .delivered = {delivered, 2}};
        base.xmax = base.xmin;
        int64_t after = ring_heard() - random() % 150;
        compare(mine, in, &base, after, &told);
        map_destroy(&mine);
    }
    ring_stop();
    assert_true(told > 500);
}

static void test_user_hints(void **state)
{
    struct map *mine = map_create(NULL);
    struct sync_token base = {.xmin = 100, .xmax = 100};
    struct ring_question question = {.user_id = SLICE("@me:b"), .base = &base, .rooms = mine};
    struct ring_found found;
    ring_start(LIMIT);
    question.after = ring_heard();
    assert_true(question.after == gap_heard || ring_ask(&question, &found));
    ring_hear_user(SLICE("@other:b"), 0);
    question.after = ring_heard();
    assert_true(ring_ask(&question, &found));
    ring_hear_user(SLICE("@me:b"), 99); /* the reader's snapshot has it */
    assert_true(ring_ask(&question, &found));
    ring_hear_user(SLICE("@me:b"), 100);
    assert_false(ring_ask(&question, &found));
    question.after = ring_heard();
    assert_true(ring_ask(&question, &found));
    ring_hear_user(SLICE("@me:b"), 0);
    assert_false(ring_ask(&question, &found));
    ring_stop();
    map_destroy(&mine);
}

int main(void)
{
    counters.ring_bytes = metric_gauge("test_ring_bytes", "", NULL);
    for (int i = 0; i < ROOMS; i++)
        snprintf(names[i], sizeof names[i], "!r%d", i);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_naive), cmocka_unit_test(test_user_hints)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
