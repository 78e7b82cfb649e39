/* Tokens of /sync: round trips, what they have seen, and text that is no token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/store/cluster_epoch.h"
#include "workers/sync/token.c"

static struct arena *arena;

static void expect_round_trip(const char *text)
{
    struct sync_token token;
    assert_true(sync_token_parse(arena, slice_from_cstr(text), &token));
    struct slice again = sync_token_format(arena, &token);
    assert_int_equal(again.len, strlen(text));
    assert_memory_equal(again.at, text, again.len);
}

static void test_round_trips(void **state)
{
    static const char *const tokens[] = {"s1",
                                         "s100",
                                         "s100x120",
                                         "s100x120.101.119",
                                         "s5_d7",
                                         "s5_e9",
                                         "s5_p9",
                                         "s5x9.6_d7_e8_p9~10.11",
                                         "s5~1",
                                         "s5_g2",
                                         "s5x9.6_d7_e8_p9_g12~10.11"};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        expect_round_trip(tokens[i]);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {"",         "s",
                                        "t5",       "5",
                                        "s0",       "s-1",
                                        "sx",       "s5x",
                                        "s5x4",     "s5.6",
                                        "s5x9.4",   "s5x9.9",
                                        "s5x9.7.6", "s5x9.6.6",
                                        "s5_d",     "s5_e",
                                        "s5~",      "s5~1.",
                                        "s5~x",     "s5 ",
                                        "s5_e1_d1", "s99999999999999999999",
                                        "s5~1~2",   "s5_p1_e2",
                                        "s5_g",     "s5_g2_p1",
                                        "s5_g2_g3"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct sync_token token;
        if (sync_token_parse(arena, slice_from_cstr(texts[i]), &token))
            fail_msg("taken: %s", texts[i]);
    }
}

static void test_epochs(void **state)
{
    static const struct {
        const char *text;
        int64_t epoch;
    } tokens[] = {{"s5", 1}, {"s5_d7_e8~1", 1}, {"s5_g2", 2}, {"s5x9.6_d7_p9_g31~10.11", 31}};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        struct sync_token token;
        assert_true(sync_token_parse(arena, slice_from_cstr(tokens[i].text), &token));
        assert_int_equal(token.epoch, tokens[i].epoch);
        assert_int_equal(token_epoch(slice_from_cstr(tokens[i].text)), tokens[i].epoch); /* what other endpoints read */
    }
    assert_int_equal(token_epoch(SLICE("t5")), 1);
    assert_int_equal(token_epoch(SLICE("s5_g")), 1);
    assert_int_equal(token_epoch(SLICE_ABSENT), 1);
}

static void test_bounds(void **state)
{
    struct strbuf text = strbuf_in(arena);
    strbuf_add_cstr(&text, "s5~1");
    for (int i = 2; i <= TOKEN_DELIVERED_MAX; i++)
        strbuf_printf(&text, ".%d", i);
    struct sync_token token;
    assert_true(sync_token_parse(arena, strbuf_slice(&text), &token));
    assert_int_equal(token.delivered.len, TOKEN_DELIVERED_MAX);
    strbuf_add_cstr(&text, ".99");
    assert_false(sync_token_parse(arena, strbuf_slice(&text), &token));
}

static void test_snapshots(void **state)
{
    struct sync_token token = {0};
    assert_true(sync_token_take_snapshot(arena, SLICE("100:105:101,103"), &token));
    static const bool seen[] = {true, false, true, false, true, false, false}; /* 99 … 106 without 99 */
    assert_true(sync_token_saw(&token, 99));
    for (int i = 0; i < 7; i++)
        assert_int_equal(sync_token_saw(&token, 100 + i), seen[i]);
    struct slice text = sync_token_snapshot(arena, &token);
    assert_memory_equal(text.at, "100:105:101,103", text.len);
    /* Nobody at work: the text is as short as it gets. */
    assert_true(sync_token_take_snapshot(arena, SLICE("100:105:"), &token));
    assert_int_equal(token.xmin, 105);
    assert_true(sync_token_saw(&token, 104));
    assert_false(sync_token_saw(&token, 105));
    assert_false(sync_token_take_snapshot(arena, SLICE("100"), &token));
    token = sync_token_none();
    assert_false(sync_token_saw(&token, 3));
}

/* More transactions at work than fit: what is seen may only get less. */
static void test_busy_snapshot(void **state)
{
    struct strbuf text = strbuf_in(arena);
    struct sync_token token = {0}, again;
    strbuf_add_cstr(&text, "1000:9000:1000");
    for (int i = 1; i < 400; i++)
        strbuf_printf(&text, ",%d", 1000 + i * 10);
    assert_true(sync_token_take_snapshot(arena, strbuf_slice(&text), &token));
    assert_int_equal(token.running.len, TOKEN_RUNNING_MAX);
    assert_true(sync_token_parse(arena, sync_token_format(arena, &token), &again));
    for (int64_t pos = 990; pos < 9010; pos++) {
        bool truly = pos < 1000 || (pos < 9000 && !(pos % 10 == 0 && pos < 5000));
        assert_true(truly || !sync_token_saw(&again, pos));
        if (pos < token.xmax)
            assert_int_equal(sync_token_saw(&again, pos), truly);
    }
}

static int set_up(void **state)
{
    arena = arena_create(1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    arena_destroy(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trips), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_epochs),      cmocka_unit_test(test_bounds),
                                       cmocka_unit_test(test_snapshots),   cmocka_unit_test(test_busy_snapshot)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
