/* Lanes under random load (SEED=n repeats a run's choices): equal keys in order and never two at once, different keys in parallel,
 * nothing lost, nothing twice. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/kit/lanes.h"

enum { ITEMS = 40000, KEYS = 300, THREADS = 6, PUSHERS = 3 };

struct item {
    struct lane_item item;
    int pusher, number; /* order of its pusher */
    atomic_int runs;
};

struct field {
    struct lanes *lanes;
    struct item *items;
    atomic_int inside[KEYS];      /* at most 1, but for key 0 */
    int last_seen[KEYS][PUSHERS]; /* guarded by the lane itself: that is the test */
    atomic_int most_parallel, parallel, pushing;
    uint64_t seed;
};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

/* Few hot keys, many cold ones, and a tenth without order. */
static uint64_t key_for(uint64_t random)
{
    return random % 10 == 0 ? 0 : random % 3 == 0 ? 1 + random % 4 : 1 + random % (KEYS - 1);
}

static void *runner(void *context)
{
    struct field *field = context;
    struct lane_item *taken;
    while ((taken = lanes_take(field->lanes))) {
        struct item *item = (struct item *)(void *)taken;
        uint64_t key = item->item.lane;
        int now = atomic_fetch_add(&field->parallel, 1) + 1, most = atomic_load(&field->most_parallel);
        while (now > most && !atomic_compare_exchange_weak(&field->most_parallel, &most, now))
            continue;
        assert_int_equal(atomic_fetch_add(&item->runs, 1), 0);
        if (key) {
            assert_int_equal(atomic_fetch_add(&field->inside[key], 1), 0);
            assert_true(field->last_seen[key][item->pusher] < item->number);
            field->last_seen[key][item->pusher] = item->number;
        }
        if (item->number % 64 == 0)
            usleep(100);
        if (key)
            atomic_fetch_sub(&field->inside[key], 1);
        atomic_fetch_sub(&field->parallel, 1);
        lanes_finish(field->lanes, key);
    }
    return NULL;
}

static void *pusher(void *context)
{
    struct field *field = context;
    int self = atomic_fetch_add(&field->pushing, 1);
    for (int i = self; i < ITEMS; i += PUSHERS) {
        struct item *item = &field->items[i];
        item->pusher = self;
        item->number = i + 1;
        item->item.lane = key_for(mix(field->seed + (uint64_t)i));
        lanes_push(field->lanes, &item->item);
    }
    return NULL;
}

static void random_load(void **state)
{
    struct field *field = calloc(1, sizeof *field);
    field->seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : (uint64_t)time(NULL);
    print_message("SEED=%llu\n", (unsigned long long)field->seed);
    field->lanes = lanes_create();
    field->items = calloc(ITEMS, sizeof *field->items);
    pthread_t runners[THREADS], pushers[PUSHERS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&runners[i], NULL, runner, field);
    for (int i = 0; i < PUSHERS; i++)
        pthread_create(&pushers[i], NULL, pusher, field);
    for (int i = 0; i < PUSHERS; i++)
        pthread_join(pushers[i], NULL);
    lanes_close(field->lanes); /* what is queued is still run */
    for (int i = 0; i < THREADS; i++)
        pthread_join(runners[i], NULL);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(atomic_load(&field->items[i].runs), 1);
    print_message("%d at once\n", atomic_load(&field->most_parallel));
    assert_true(atomic_load(&field->most_parallel) > 1);
    assert_int_equal(lanes_queued(field->lanes), 0);
    assert_int_equal(lanes_running(field->lanes), 0);
    lanes_destroy(&field->lanes);
    free(field->items);
    free(field);
}

/* One heavy lane does not hold the others up, and is itself strictly serial. */
static void a_busy_lane_holds_nobody_up(void **state)
{
    struct lanes *lanes = lanes_create();
    struct item heavy[3] = {0}, light[2] = {0};
    for (int i = 0; i < 3; i++) {
        heavy[i].item.lane = 7;
        lanes_push(lanes, &heavy[i].item);
    }
    light[0].item.lane = 8;
    lanes_push(lanes, &light[0].item);
    lanes_push(lanes, &light[1].item); /* no order */
    assert_ptr_equal(lanes_take(lanes), &heavy[0].item);
    assert_ptr_equal(lanes_take(lanes), &light[0].item);
    assert_ptr_equal(lanes_take(lanes), &light[1].item);
    assert_int_equal(lanes_queued(lanes), 2);
    lanes_finish(lanes, 7);
    assert_ptr_equal(lanes_take(lanes), &heavy[1].item);
    lanes_close(lanes);
    lanes_finish(lanes, 7);
    assert_ptr_equal(lanes_take(lanes), &heavy[2].item);
    assert_null(lanes_take(lanes));
    lanes_finish(lanes, 7);
    lanes_finish(lanes, 8);
    lanes_finish(lanes, 0);
    lanes_destroy(&lanes);
}

/* One lane may not take the room of all, by number or by bytes; others and what has no order are not bound. */
static void a_lane_has_a_share(void **state)
{
    struct lanes *lanes = lanes_create();
    struct item items[12] = {0};
    for (int i = 0; i < 12; i++)
        items[i].item = (struct lane_item){.lane = i < 8 ? 7 : i < 10 ? 8 : 0, .bytes = 10};
    assert_true(lanes_offer(lanes, &items[0].item, 3, 1000)); /* may run at once */
    for (int i = 1; i <= 3; i++)
        assert_true(lanes_offer(lanes, &items[i].item, 3, 1000));
    assert_false(lanes_offer(lanes, &items[4].item, 3, 1000));
    assert_true(lanes_offer(lanes, &items[8].item, 3, 5));
    assert_true(lanes_offer(lanes, &items[9].item, 3, 5)); /* one may wait, however large */
    assert_true(lanes_offer(lanes, &items[10].item, 0, 0));
    assert_true(lanes_offer(lanes, &items[11].item, 0, 0));
    assert_ptr_equal(lanes_take(lanes), &items[0].item);
    assert_false(lanes_offer(lanes, &items[4].item, 3, 1000)); /* running is not waiting */
    lanes_finish(lanes, 7);
    assert_true(lanes_offer(lanes, &items[4].item, 3, 1000));
    assert_false(lanes_offer(lanes, &items[5].item, 30, 35));
    assert_int_equal(lanes_queued(lanes), 8);
    lanes_close(lanes);
    for (struct lane_item *item; (item = lanes_take(lanes));)
        lanes_finish(lanes, item->lane);
    lanes_destroy(&lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_load),
        cmocka_unit_test(a_busy_lane_holds_nobody_up),
        cmocka_unit_test(a_lane_has_a_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
