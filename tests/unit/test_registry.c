/* Rendezvous hashing: fair shares, and only the keys of a worker that comes or goes move. Metrics' text as Prometheus reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/kit/metrics.h"
#include "lib/kit/registry.h"

enum { WORKERS = 8, KEYS = 80000 };

static struct peers *make_peers(size_t count)
{
    struct peers *peers = calloc(1, sizeof *peers + (count + 1) * sizeof(struct peer));
    peers->count = count + 1;
    for (size_t i = 0; i < count; i++)
        peers->at[i] = (struct peer){.instance = slice_hash(slice_of(&i, sizeof i)), .kind = SERVICE_events};
    peers->at[count] = (struct peer){.instance = 1, .kind = SERVICE_rooms}; /* another kind is never chosen */
    return peers;
}

static uint64_t key_of(size_t i)
{
    char text[32];
    return slice_hash(slice_of(text, (size_t)snprintf(text, sizeof text, "!room%zu:example.org", i)));
}

static size_t owner_of(const struct peers *peers, size_t key, uint64_t skip)
{
    const struct peer *peer = peers_pick(peers, SERVICE_events, key_of(key), skip);
    return peer ? (size_t)(peer - peers->at) : SIZE_MAX;
}

static void shares_are_fair(void **state)
{
    struct peers *peers = make_peers(WORKERS);
    size_t counts[WORKERS + 1] = {0};
    for (size_t i = 0; i < KEYS; i++)
        counts[owner_of(peers, i, 0)]++;
    assert_int_equal(counts[WORKERS], 0);
    for (size_t i = 0; i < WORKERS; i++)
        assert_in_range(counts[i], KEYS / WORKERS * 95 / 100, KEYS / WORKERS * 105 / 100);
    free(peers);
}

static void only_the_keys_of_who_left_move(void **state)
{
    struct peers *peers = make_peers(WORKERS);
    size_t *before = malloc(KEYS * sizeof *before), moved = 0;
    for (size_t i = 0; i < KEYS; i++)
        before[i] = owner_of(peers, i, 0);
    peers->at[3].draining = true;
    for (size_t i = 0; i < KEYS; i++) {
        size_t now = owner_of(peers, i, 0);
        assert_true(now == before[i] || before[i] == 3);
        assert_int_not_equal(now, 3);
        moved += now != before[i];
    }
    print_message("%zu of %d keys moved\n", moved, KEYS);
    for (size_t i = 0; i < KEYS; i++) { /* skipping is the same as leaving: routers that disagree find the same second choice */
        peers->at[3].draining = true;
        size_t second = owner_of(peers, i, 0);
        peers->at[3].draining = false;
        assert_int_equal(owner_of(peers, i, peers->at[3].instance), second);
    }
    free(before);
    free(peers);
}

static void nobody(void **state)
{
    struct peers none = {.count = 0};
    assert_null(peers_pick(&none, SERVICE_events, 1, 0));
    assert_null(peers_pick(NULL, SERVICE_events, 1, 0));
    struct peers *one = make_peers(1);
    assert_non_null(peers_pick(one, SERVICE_events, 1, 0));
    assert_null(peers_pick(one, SERVICE_events, 1, one->at[0].instance));
    free(one);
}

static int64_t answer(void *context)
{
    return 42;
}

static void metrics_text(void **state)
{
    struct metric *a = metric_counter("t_total", "a counter", "x=\"1\""), *b = metric_counter("t_total", "a counter", "x=\"2\"");
    struct metric *ms = metric_histogram_ms("t_ms", "a histogram", NULL);
    assert_ptr_equal(metric_counter("t_total", "a counter", "x=\"1\""), a);
    metric_counter("t_untouched", "never written", NULL);
    metric_set(metric_gauge("t_gauge", "a gauge", NULL), -5);
    metric_read_by(metric_gauge("t_read", "asked for", "k=\"v\""), answer, NULL);
    metric_add(a, 3);
    metric_add(b, 1);
    metric_observe_us(ms, 50);
    metric_observe_us(ms, 700);
    metric_observe_us(ms, 60000000);
    struct arena *arena = arena_create(1024 * 1024);
    struct strbuf out = strbuf_in(arena);
    metrics_write(&out);
    strbuf_add_char(&out, '\0');
    assert_non_null(strstr(out.at, "# HELP t_total a counter\n# TYPE t_total counter\nt_total{x=\"1\"} 3\nt_total{x=\"2\"} 1\n"));
    assert_non_null(strstr(out.at, "t_gauge -5\n"));
    assert_non_null(strstr(out.at, "t_read{k=\"v\"} 42\n"));
    assert_non_null(strstr(out.at, "t_ms_bucket{le=\"0.1\"} 1\n"));
    assert_non_null(strstr(out.at, "t_ms_bucket{le=\"1\"} 2\n"));
    assert_non_null(strstr(out.at, "t_ms_bucket{le=\"30000\"} 2\nt_ms_bucket{le=\"+Inf\"} 3\nt_ms_sum 60000.750\nt_ms_count 3\n"));
    assert_null(strstr(out.at, "t_untouched"));
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_fair),
        cmocka_unit_test(only_the_keys_of_who_left_move),
        cmocka_unit_test(nobody),
        cmocka_unit_test(metrics_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
