/* The hash map against a naive model, and the order of its walk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "lib/base/keyed_hash.h"
#include "lib/base/map.h"

static void basics(struct arena *arena)
{
    struct map *map = map_create(arena);
    int one, two;
    assert_null(map_get(map, SLICE("a")));
    assert_true(map_put(map, SLICE("a"), &one));
    assert_false(map_put(map, SLICE("a"), &two));
    assert_ptr_equal(map_get(map, SLICE("a")), &two);
    assert_true(map_put(map, SLICE(""), NULL));
    assert_true(map_has(map, SLICE("")));
    assert_true(map_has(map, SLICE_ABSENT)); /* absent and empty are one key */
    assert_false(map_has(map, SLICE("\0")));
    assert_int_equal(map_count(map), 2);
    assert_true(map_remove(map, SLICE("a")));
    assert_false(map_remove(map, SLICE("a")));
    assert_int_equal(map_count(map), 1);
    assert_true(map_put(map, SLICE("a"), &one));
    map_destroy(&map);
    assert_null(map);
    map_destroy(&map);
}

static void pointers_on_the_heap(void **state)
{
    basics(NULL);
}

static void pointers_in_an_arena(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    basics(arena);
    arena_destroy(&arena);
}

static void the_walk_is_in_order_of_insertion(void **state)
{
    struct map *map = map_create(NULL);
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%d", i * 7919 % 1000);
        assert_true(map_put_i64(map, slice_from_cstr(name), i));
    }
    memset(name, 'x', sizeof name); /* keys were copied */
    struct slice key;
    int64_t value, expected = 0;
    for (size_t at = 0; map_next_i64(map, &at, &key, &value); expected++) {
        assert_int_equal(value, expected);
        snprintf(name, sizeof name, "%d", (int)(value * 7919 % 1000));
        assert_true(slice_eq(key, slice_from_cstr(name)));
        if (value % 2)
            assert_true(map_remove(map, key)); /* the current one may go */
    }
    assert_int_equal(expected, 1000);
    assert_int_equal(map_count(map), 500);
    expected = 0;
    for (size_t at = 0; map_next_i64(map, &at, NULL, &value); expected += 2)
        assert_int_equal(value, expected);
    assert_int_equal(expected, 1000);
    map_destroy(&map);
}

enum { KEYS = 300 };

static void random_work_agrees_with_a_naive_model(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    const char *given = getenv("MYELIN_SEED");
    if (given)
        seed = (unsigned)strtoul(given, NULL, 10);
    printf("MYELIN_SEED=%u\n", seed);
    struct map *map = map_create(NULL);
    bool present[KEYS] = {false};
    int64_t values[KEYS];
    size_t count = 0;
    for (int step = 0; step < 100000; step++) {
        int number = rand_r(&seed) % KEYS;
        char name[16];
        snprintf(name, sizeof name, "k%d", number);
        struct slice key = slice_from_cstr(name);
        if (rand_r(&seed) % 2) {
            assert_int_equal(map_put_i64(map, key, step), !present[number]);
            count += !present[number];
            present[number] = true;
            values[number] = step;
        } else {
            assert_int_equal(map_remove(map, key), present[number]);
            count -= present[number];
            present[number] = false;
        }
        assert_int_equal(map_count(map), count);
        int64_t value = -1;
        assert_int_equal(map_get_i64(map, key, &value), present[number]);
        assert_int_equal(value, present[number] ? values[number] : -1);
    }
    map_destroy(&map);
}

static void keyed_hashes_spread(void **state)
{
    uint64_t hash = slice_hash_keyed(SLICE("!room:example.org"));
    assert_true(hash == slice_hash_keyed(SLICE("!room:example.org")));
    assert_true(hash != slice_hash_keyed(SLICE("!room:example.orG")));
    assert_true(slice_hash_keyed(SLICE("")) != slice_hash_keyed(SLICE("\0")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pointers_on_the_heap),
        cmocka_unit_test(pointers_in_an_arena),
        cmocka_unit_test(the_walk_is_in_order_of_insertion),
        cmocka_unit_test(random_work_agrees_with_a_naive_model),
        cmocka_unit_test(keyed_hashes_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
