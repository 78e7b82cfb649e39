/* Discovery's pure parts: the order of SRV records, what a well-known answer says and how long it counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "workers/discovery/srv.h"
#include "workers/discovery/well_known_answer.h"

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS };

static uint64_t seed;
static uint32_t chance(uint32_t bound)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % bound;
}

static void test_srv_priorities(void **state)
{
    for (int round = 0; round < 1000; round++) {
        struct dns_srv list[] = {{.priority = 30, .port = 5},
                                 {.priority = 10, .weight = 1, .port = 1},
                                 {.priority = 20, .port = 3},
                                 {.priority = 10, .weight = 9, .port = 2},
                                 {.priority = 20, .weight = 65535, .port = 4}};
        int ports = 0;
        srv_order(list, 5, chance);
        for (int i = 0; i < 5; i++)
            ports |= 1 << list[i].port;
        assert_int_equal(ports, 0x3e);
        assert_true(list[0].priority == 10 && list[1].priority == 10 && list[2].priority == 20 && list[3].priority == 20);
    }
}

static void test_srv_weights(void **state)
{
    enum { ROUNDS = 20000 };
    int first[4] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        struct dns_srv list[] = {
            {.weight = 0, .port = 0}, {.weight = 10, .port = 1}, {.weight = 30, .port = 2}, {.weight = 60, .port = 3}};
        srv_order(list, 4, chance);
        first[list[0].port]++;
    }
    assert_in_range(first[0], 0, ROUNDS / 500);
    assert_in_range(first[1], ROUNDS * 8 / 100, ROUNDS * 12 / 100);
    assert_in_range(first[2], ROUNDS * 27 / 100, ROUNDS * 33 / 100);
    assert_in_range(first[3], ROUNDS * 56 / 100, ROUNDS * 64 / 100);
}

static void test_srv_not_here(void **state)
{
    const struct dns_srv root = {.target = SLICE("")}, other = {.target = SLICE("a")}, two[] = {root, other};
    assert_true(srv_says_not_here(&root, 1));
    assert_false(srv_says_not_here(&other, 1));
    assert_false(srv_says_not_here(two, 2));
    assert_false(srv_says_not_here(NULL, 0));
}

static const struct {
    const char *cache_control, *expires;
    int64_t lifetime_ms;
} lifetimes[] = {
    {NULL, NULL, 24 * HOUR_MS},
    {"", NULL, 24 * HOUR_MS},
    {"public", NULL, 24 * HOUR_MS},
    {"max-age=3600", NULL, HOUR_MS},
    {"MAX-AGE=\"3600\" , public", NULL, HOUR_MS},
    {"public,max-age=3600,max-age=7200", NULL, HOUR_MS},
    {"max-age=1", NULL, MINUTE_MS},
    {"max-age=172801", NULL, 48 * HOUR_MS},
    {"max-age=9223372036854775807", NULL, 48 * HOUR_MS},
    {"max-age=9223372036854775808", NULL, 24 * HOUR_MS}, /* not a number we can read */
    {"max-age=-1", NULL, 24 * HOUR_MS},
    {"max-age", NULL, 24 * HOUR_MS},
    {"no-cache", NULL, MINUTE_MS},
    {"max-age=3600, no-store", NULL, MINUTE_MS},
    {"no-cache=\"x\"", NULL, MINUTE_MS},
    {NULL, "Tue, 14 Nov 2023 23:13:20 GMT", HOUR_MS}, /* now is 22:13:20 */
    {NULL, "Tue, 14 Nov 2023 21:13:20 GMT", MINUTE_MS},
    {NULL, "Mon, 14 Nov 2033 23:13:20 GMT", 48 * HOUR_MS},
    {NULL, "0", MINUTE_MS},
    {NULL, "", MINUTE_MS},
    {NULL, "tomorrow", MINUTE_MS},
    {"max-age=7200", "0", 2 * HOUR_MS},
};

static void test_lifetimes(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    for (size_t i = 0; i < sizeof lifetimes / sizeof lifetimes[0]; i++) {
        int64_t found = well_known_lifetime_ms(arena, slice_from_cstr(lifetimes[i].cache_control),
                                               slice_from_cstr(lifetimes[i].expires), INT64_C(1700000000000));
        if (found != lifetimes[i].lifetime_ms)
            fail_msg("Cache-Control %s, Expires %s: %lld ms", lifetimes[i].cache_control, lifetimes[i].expires, (long long)found);
    }
    arena_destroy(&arena);
}

static void test_retries(void **state)
{
    const int minutes[] = {2, 4, 8, 16, 32, 60, 60};
    for (int i = 0; i < 7; i++)
        assert_int_equal(well_known_retry_ms(i + 1), minutes[i] * MINUTE_MS);
    assert_int_equal(well_known_retry_ms(INT32_MAX), HOUR_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_srv_priorities), cmocka_unit_test(test_srv_weights), cmocka_unit_test(test_srv_not_here),
        cmocka_unit_test(test_lifetimes),      cmocka_unit_test(test_retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
