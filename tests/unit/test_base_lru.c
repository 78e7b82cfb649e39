/* The byte-bounded cache: what goes first, that the bound holds, that every value is freed once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/lru.h"

static int freed[10000];

static void count_freed(void *value)
{
    freed[*(int *)value]++;
    free(value);
}

static int *number(int n)
{
    int *value = malloc(sizeof *value);
    assert_non_null(value);
    *value = n;
    freed[n] = 0;
    return value;
}

static struct slice key_of(int n)
{
    static char name[16];
    return slice_of(name, (size_t)snprintf(name, sizeof name, "%d", n));
}

static void the_least_recently_used_goes_first(void **state)
{
    struct lru *lru = lru_create(3500, count_freed); /* room for three of a thousand bytes and their nodes */
    for (int n = 1; n <= 3; n++)
        lru_put(lru, key_of(n), number(n), 1000);
    assert_int_equal(lru_count(lru), 3);
    assert_int_equal(*(int *)lru_get(lru, key_of(1)), 1);
    lru_put(lru, key_of(4), number(4), 1000);
    assert_null(lru_get(lru, key_of(2)));
    assert_int_equal(freed[2], 1);
    assert_non_null(lru_get(lru, key_of(1)));
    assert_non_null(lru_get(lru, key_of(3)));
    lru_put(lru, key_of(5), number(5), 2200); /* takes the place of two */
    assert_int_equal(freed[4], 1);
    assert_int_equal(freed[1], 1);
    assert_non_null(lru_get(lru, key_of(3)));
    lru_destroy(&lru);
    assert_null(lru);
    assert_int_equal(freed[3], 1);
    assert_int_equal(freed[5], 1);
    lru_destroy(&lru);
}

static void values_are_owned(void **state)
{
    struct lru *lru = lru_create(4000, count_freed);
    lru_put(lru, SLICE("k"), number(1), 10);
    lru_put(lru, SLICE("k"), number(2), 10);
    assert_int_equal(freed[1], 1);
    assert_int_equal(lru_count(lru), 1);
    lru_put(lru, SLICE("k"), number(3), 4000); /* too large: freed, and the old value of the key is not kept either */
    assert_int_equal(freed[2], 1);
    assert_int_equal(freed[3], 1);
    assert_null(lru_get(lru, SLICE("k")));
    lru_put(lru, SLICE("k"), number(4), SIZE_MAX);
    assert_int_equal(freed[4], 1);
    assert_int_equal(lru_bytes(lru), 0);
    lru_put(lru, SLICE(""), number(5), 0);
    assert_true(lru_remove(lru, SLICE("")));
    assert_false(lru_remove(lru, SLICE("")));
    assert_int_equal(freed[5], 1);
    lru_put(lru, SLICE("a"), number(6), 1);
    lru_clear(lru);
    assert_int_equal(freed[6], 1);
    assert_int_equal(lru_count(lru), 0);
    lru_destroy(&lru);
}

static void the_bound_always_holds(void **state)
{
    enum { LIMIT = 20000 };
    struct lru *lru = lru_create(LIMIT, count_freed);
    unsigned seed = 1;
    for (int n = 0; n < 10000; n++) {
        lru_put(lru, key_of(n % 700), number(n), (size_t)(rand_r(&seed) % 300));
        assert_true(lru_bytes(lru) <= LIMIT);
        int *value = lru_get(lru, key_of(rand_r(&seed) % 700));
        assert_true(!value || freed[*value] == 0);
        if (n % 5 == 0)
            lru_remove(lru, key_of(rand_r(&seed) % 700));
    }
    assert_true(lru_count(lru) > 50); /* more than the first buckets */
    lru_destroy(&lru);
    for (int n = 0; n < 10000; n++)
        assert_int_equal(freed[n], 1);
}

static void many_small_ones_grow_the_table(void **state)
{
    struct lru *lru = lru_create(SIZE_MAX, NULL);
    static int value;
    for (int n = 0; n < 5000; n++)
        lru_put(lru, key_of(n), &value, 0);
    assert_int_equal(lru_count(lru), 5000);
    for (int n = 0; n < 5000; n++)
        assert_ptr_equal(lru_get(lru, key_of(n)), &value);
    lru_destroy(&lru);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(values_are_owned),
        cmocka_unit_test(the_bound_always_holds),
        cmocka_unit_test(many_small_ones_grow_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
