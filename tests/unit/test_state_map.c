/* The layered state store against a naive model: random histories with branches, printed seed; and the promise that a room's stored
 * state history costs at most three times its state events (DESIGN §1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "lib/store/state_map.h"

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void seed_print(void)
{
    const char *given = getenv("MYELIN_TEST_SEED");
    random_state = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    print_message("seed %llu\n", (unsigned long long)random_state);
}

enum { KEYS = 60, SNAPSHOTS = 400 };

struct stored {
    struct state_layer layer; /* what a row would hold */
    int64_t model[KEYS];      /* the whole state, naively */
};

static size_t chain_of(const struct stored *all, int64_t nid, struct state_layer *chain)
{
    size_t count = 0;
    for (; nid; nid = all[nid].layer.base_nid)
        chain[count++] = all[nid].layer;
    return count;
}

static void test_random_histories(void **state)
{
    seed_print();
    for (int round = 0; round < 20; round++) {
        struct arena *arena = arena_create(64 << 20);
        struct stored *all = arena_new_array(arena, SNAPSHOTS + 1, struct stored);
        struct state_layer chain[64];
        for (int64_t nid = 1; nid <= SNAPSHOTS; nid++) {
            int64_t parent = nid == 1 ? 0 : (int64_t)(random_next() % 4 ? (uint64_t)nid - 1 : random_next() % (uint64_t)nid);
            memcpy(all[nid].model, all[parent].model, sizeof all[nid].model);
            struct state_pair changes[8];
            size_t count = 1 + random_next() % 8;
            for (size_t i = 0; i < count; i++) {
                int64_t key = (int64_t)(random_next() % KEYS),
                        event = random_next() % 5 ? (int64_t)(random_next() % 1000000) + 1 : 0;
                changes[i] = (struct state_pair){key, event};
                all[nid].model[key] = event;
            }
            size_t depth = chain_of(all, parent, chain);
            int64_t base;
            int below;
            struct state_map delta = state_chain_push(arena, chain, depth, state_map_from(arena, changes, count), &base, &below);
            struct slice bytes = state_delta_encode(arena, delta);
            struct state_map decoded;
            assert_true(state_delta_decode(arena, bytes, &decoded));
            assert_int_equal(decoded.count, delta.count);
            all[nid].layer = (struct state_layer){nid, base, decoded, bytes.len};
            depth = chain_of(all, nid, chain);
            assert_int_equal((int)depth, below + 1);
            assert_true(depth <= 8); /* log2(KEYS) + 2 */
            struct state_map whole = state_chain_read(arena, chain, depth);
            size_t expected = 0;
            for (int64_t key = 0; key < KEYS; key++) {
                assert_int_equal(state_map_get(whole, key), all[nid].model[key]);
                expected += all[nid].model[key] != 0;
            }
            assert_int_equal(whole.count, expected);
            struct state_map before = state_chain_read(arena, chain, chain_of(all, parent, chain));
            struct state_map diff = state_map_diff(arena, before, whole), redone = state_map_apply(arena, before, diff);
            assert_int_equal(state_map_distance(before, whole), diff.count);
            assert_int_equal(state_maps_equal(before, whole), diff.count == 0);
            assert_true(state_maps_equal(redone, whole) && state_map_distance(whole, whole) == 0);
            assert_int_equal(redone.count, whole.count);
            assert_memory_equal(redone.pairs, whole.pairs, whole.count * sizeof *whole.pairs);
        }
        arena_destroy(&arena);
    }
}

/* 5,000 members join one after another: rows of about 60 bytes beside events of at least 350 (a small member event as stored). */
static void test_history_is_compact(void **state)
{
    enum { MEMBERS = 5000, EVENT_BYTES = 350, ROW_BYTES = 60 };
    struct arena *arena = arena_create(512 << 20);
    struct state_layer *all = arena_new_array(arena, MEMBERS + 1, struct state_layer);
    struct state_layer chain[64];
    size_t total = 0, deepest = 0;
    for (int64_t nid = 1; nid <= MEMBERS; nid++) {
        size_t depth = 0;
        for (int64_t at = nid - 1; at; at = all[at].base_nid)
            chain[depth++] = all[at];
        struct state_pair change = {nid * 3, nid * 40 + 7};
        int64_t base;
        int below;
        struct state_map delta = state_chain_push(arena, chain, depth, (struct state_map){&change, 1}, &base, &below);
        struct slice bytes = state_delta_encode(arena, delta);
        all[nid] = (struct state_layer){nid, base, delta, bytes.len};
        total += bytes.len + ROW_BYTES;
        deepest = (size_t)below + 1 > deepest ? (size_t)below + 1 : deepest;
    }
    print_message("%d joins: %zu bytes of state history, %.2f of the events, %zu layers at most\n", MEMBERS, total,
                  (double)total / (MEMBERS * EVENT_BYTES), deepest);
    assert_true(total <= (size_t)3 * MEMBERS * EVENT_BYTES);
    assert_true(deepest <= 14);
    arena_destroy(&arena);
}

static void test_damaged_deltas_are_refused(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    struct state_pair pairs[] = {{1, 100}, {5, 0}, {900, 20}};
    struct slice good = state_delta_encode(arena, (struct state_map){pairs, 3});
    struct state_map out;
    assert_true(state_delta_decode(arena, good, &out));
    assert_int_equal(out.pairs[1].event, 0);
    for (size_t length = 0; length < good.len; length++)
        assert_false(state_delta_decode(arena, slice_sub(good, 0, length), &out));
    assert_false(state_delta_decode(arena, arena_concat(arena, (struct slice[]){good, SLICE("x")}, 2), &out));
    assert_false(state_delta_decode(arena, SLICE("\xff\xff\xff\xff\x0f"), &out));
    assert_false(state_delta_decode(arena, SLICE("\x02\x04\x02\x00\x02"), &out)); /* the same key twice */
    assert_false(state_delta_decode(arena, SLICE("\x01\x04\x00"), &out));         /* event 0 that is no removal */
    assert_false(state_delta_decode(arena, SLICE("\x01\x04\x01"), &out));         /* event −1 */
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_histories),
        cmocka_unit_test(test_history_is_compact),
        cmocka_unit_test(test_damaged_deltas_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
