/* The blocking queue: order, closing, deadlines, and many threads at both ends (the tsan preset runs this too). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/base/queue.h"

static int items[4];

static void first_in_first_out(void **state)
{
    struct queue *queue = queue_create(3);
    assert_null(queue_try_pop(queue));
    for (int i = 0; i < 3; i++)
        assert_true(queue_push(queue, &items[i]));
    assert_false(queue_try_push(queue, &items[3]));
    assert_int_equal(queue_length(queue), 3);
    assert_ptr_equal(queue_pop(queue), &items[0]);
    assert_true(queue_try_push(queue, &items[3])); /* around the ring's end */
    for (int i = 1; i < 4; i++)
        assert_ptr_equal(queue_pop(queue), &items[i]);
    queue_destroy(&queue);
    assert_null(queue);
    queue_destroy(&queue);
}

static void deadlines(void **state)
{
    struct queue *queue = queue_create(1);
    int64_t start = clock_monotonic_ms();
    assert_null(queue_pop_until(queue, start + 30));
    assert_true(clock_monotonic_ms() >= start + 30);
    assert_null(queue_pop_until(queue, 0)); /* long past */
    assert_null(queue_pop_until(queue, -5));
    assert_true(queue_push_until(queue, &items[0], 0)); /* past, but there is room */
    start = clock_monotonic_ms();
    assert_false(queue_push_until(queue, &items[1], start + 30));
    assert_true(clock_monotonic_ms() >= start + 30);
    assert_ptr_equal(queue_pop_until(queue, 0), &items[0]);
    queue_destroy(&queue);
}

static void closing(void **state)
{
    struct queue *queue = queue_create(2);
    assert_true(queue_push(queue, &items[0]));
    assert_false(queue_is_closed(queue));
    queue_close(queue);
    queue_close(queue);
    assert_true(queue_is_closed(queue));
    assert_false(queue_push(queue, &items[1]));
    assert_ptr_equal(queue_pop(queue), &items[0]); /* what was there is still handed out */
    assert_null(queue_pop(queue));
    queue_destroy(&queue);
}

static void *pop_one(void *context)
{
    return queue_pop(context);
}

static void *push_one(void *context)
{
    return queue_push(context, &items[1]) ? &items[1] : NULL;
}

static void closing_wakes_everybody(void **state)
{
    struct queue *empty = queue_create(1), *full = queue_create(1);
    assert_true(queue_push(full, &items[0]));
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i % 2 ? pop_one : push_one, i % 2 ? empty : full), 0);
    queue_close(empty);
    queue_close(full);
    for (int i = 0; i < 6; i++) {
        void *result = &items[3];
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    queue_destroy(&empty);
    queue_destroy(&full);
}

enum { PUSHERS = 3, POPPERS = 3, EACH = 5000 };

struct crowd {
    struct queue *queue;
    int numbers[PUSHERS][EACH];
    int seen[PUSHERS][EACH];
    pthread_mutex_t mutex;
};

struct pusher {
    struct crowd *crowd;
    int number;
};

static void *push_all(void *context)
{
    struct pusher *pusher = context;
    for (int i = 0; i < EACH; i++)
        while (!queue_push_until(pusher->crowd->queue, &pusher->crowd->numbers[pusher->number][i], clock_monotonic_ms() + 5))
            ;
    return NULL;
}

/* Items of one pusher reach one popper in their order. */
static void *pop_all(void *context)
{
    struct crowd *crowd = context;
    int *item, last[PUSHERS] = {-1, -1, -1};
    bool in_order = true;
    while ((item = queue_pop(crowd->queue))) {
        int index = (int)(item - crowd->numbers[0]), pusher = index / EACH, position = index % EACH;
        in_order = in_order && position > last[pusher];
        last[pusher] = position;
        pthread_mutex_lock(&crowd->mutex);
        crowd->seen[pusher][position]++;
        pthread_mutex_unlock(&crowd->mutex);
    }
    return in_order ? crowd : NULL;
}

static void a_crowd_loses_nothing(void **state)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);
    assert_non_null(crowd);
    crowd->queue = queue_create(7);
    pthread_mutex_init(&crowd->mutex, NULL);
    pthread_t pushers[PUSHERS], poppers[POPPERS];
    struct pusher contexts[PUSHERS];
    for (int i = 0; i < POPPERS; i++)
        assert_int_equal(pthread_create(&poppers[i], NULL, pop_all, crowd), 0);
    for (int i = 0; i < PUSHERS; i++) {
        contexts[i] = (struct pusher){crowd, i};
        assert_int_equal(pthread_create(&pushers[i], NULL, push_all, &contexts[i]), 0);
    }
    for (int i = 0; i < PUSHERS; i++)
        pthread_join(pushers[i], NULL);
    queue_close(crowd->queue);
    for (int i = 0; i < POPPERS; i++) {
        void *in_order = NULL;
        pthread_join(poppers[i], &in_order);
        assert_non_null(in_order);
    }
    for (int i = 0; i < PUSHERS; i++)
        for (int k = 0; k < EACH; k++)
            assert_int_equal(crowd->seen[i][k], 1);
    queue_destroy(&crowd->queue);
    pthread_mutex_destroy(&crowd->mutex);
    free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(closing),
        cmocka_unit_test(closing_wakes_everybody),
        cmocka_unit_test(a_crowd_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
