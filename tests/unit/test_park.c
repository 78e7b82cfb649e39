/* Parking: topics wake, times wake, nobody is woken twice, and no wake between a look and a park is lost. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/kit/park.h"

/* ---- one thread: who is woken by what */

static int woken_count;
static struct park_entry *woken[64];

static void note(struct park_entry *entry, void *context)
{
    woken[woken_count++] = entry;
}

static bool add(struct park *park, struct park_entry *entry, const char *a, const char *b, int64_t until_ms)
{
    struct slice topics[] = {slice_from_cstr(a), slice_from_cstr(b)};
    bool is_next;
    return park_add(park, entry, topics, b ? 2 : 1, until_ms, park_sequence(park), &is_next);
}

static void topics_and_times(void **state)
{
    struct park *park = park_create(note, NULL);
    struct park_entry x = {0}, y = {0}, z = {0};
    woken_count = 0;
    assert_true(add(park, &x, "room a", "user 1", 1000));
    assert_true(add(park, &y, "room a", "room a", 500));
    assert_true(add(park, &z, "room b", NULL, 2000));
    assert_int_equal(park_next_ms(park), 500);
    park_wake(park, SLICE("nobody's"));
    assert_int_equal(woken_count, 0);
    park_wake(park, SLICE("room a"));
    assert_int_equal(woken_count, 2);
    assert_string_equal(x.woken_by, "room a");
    park_wake(park, SLICE("user 1")); /* x is out with all its topics */
    assert_int_equal(woken_count, 2);
    park_expire(park, 1999);
    assert_int_equal(woken_count, 2);
    park_expire(park, 2000);
    assert_int_equal(woken_count, 3);
    assert_null(z.woken_by);
    assert_true(add(park, &x, "room a", NULL, INT64_MAX)); /* what was published before it looked does not count */
    assert_true(add(park, &y, "room b", NULL, 7));
    assert_true(park_remove(park, &y));
    assert_false(park_remove(park, &y));
    park_wake_all(park);
    assert_int_equal(woken_count, 4);
    assert_string_equal(x.woken_by, "*");
    assert_int_equal(park_next_ms(park), INT64_MAX);
    park_forget(&x);
    park_forget(&y);
    park_forget(&z);
    park_destroy(&park);
}

static void a_wake_between_look_and_park_counts(void **state)
{
    struct park *park = park_create(note, NULL);
    struct park_entry entry = {0};
    struct slice topic = SLICE("t");
    bool is_next;
    uint64_t before = park_sequence(park);
    park_wake(park, topic);
    assert_false(park_add(park, &entry, &topic, 1, 100, before, &is_next));
    assert_string_equal(entry.woken_by, "t");
    assert_true(park_add(park, &entry, &topic, 1, 100, park_sequence(park), &is_next));
    assert_true(is_next);
    assert_true(park_remove(park, &entry));
    before = park_sequence(park);
    park_wake_all(park);
    assert_false(park_add(park, &entry, &topic, 1, 100, before, &is_next));
    park_forget(&entry);
    park_destroy(&park);
}

/* Against a sorted list: times come out in order whatever goes in and out between. */
static void the_heap_is_a_heap(void **state)
{
    enum { COUNT = 64 };
    struct park *park = park_create(note, NULL);
    struct park_entry entries[COUNT] = {0};
    srandom((unsigned)time(NULL));
    for (int round = 0; round < 200; round++) {
        int removed = 0;
        woken_count = 0;
        for (int i = 0; i < COUNT; i++)
            assert_true(add(park, &entries[i], "t", NULL, random() % 1000));
        for (int i = 0; i < COUNT; i++) {
            if (random() % 3 == 0) {
                assert_true(park_remove(park, &entries[i]));
                removed++;
            }
        }
        int64_t last_ms = -1;
        while (park_next_ms(park) != INT64_MAX) {
            int64_t next_ms = park_next_ms(park);
            int before = woken_count;
            assert_true(next_ms > last_ms);
            park_expire(park, next_ms);
            assert_true(woken_count > before);
            for (int i = before; i < woken_count; i++)
                assert_int_equal(woken[i]->until_ms, next_ms);
            last_ms = next_ms;
        }
        assert_int_equal(woken_count, COUNT - removed);
    }
    for (int i = 0; i < COUNT; i++)
        park_forget(&entries[i]);
    park_destroy(&park);
}

/* ---- many threads: a counter is published and awaited; if one wake were lost, a waiter would sleep to the end */

enum { WAITERS = 4, STEPS = 5000 };

struct race {
    struct park *park;
    atomic_int published;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};
struct waiter {
    struct park_entry entry; /* first */
    bool is_woken;
    struct race *race;
};

static void wake_waiter(struct park_entry *entry, void *context)
{
    struct race *race = context;
    pthread_mutex_lock(&race->lock);
    ((struct waiter *)(void *)entry)->is_woken = true;
    pthread_cond_broadcast(&race->changed);
    pthread_mutex_unlock(&race->lock);
}

static void *wait_for_all(void *context)
{
    struct waiter *waiter = context;
    struct race *race = waiter->race;
    struct slice topics[] = {SLICE("other"), SLICE("counter")};
    bool is_next;
    for (int seen = 0; seen < STEPS;) {
        uint64_t since = park_sequence(race->park);
        int now = atomic_load(&race->published); /* the look */
        if (now > seen) {
            seen = now;
            continue;
        }
        waiter->is_woken = false;
        if (!park_add(race->park, &waiter->entry, topics, 2, INT64_MAX, since, &is_next))
            continue;
        pthread_mutex_lock(&race->lock);
        while (!waiter->is_woken)
            pthread_cond_wait(&race->changed, &race->lock);
        pthread_mutex_unlock(&race->lock);
    }
    park_forget(&waiter->entry);
    return NULL;
}

static void *publish_all(void *context)
{
    struct race *race = context;
    for (int i = 0; i < STEPS; i++) {
        atomic_fetch_add(&race->published, 1);
        park_wake(race->park, SLICE("counter"));
        if (i % 7 == 0)
            sched_yield();
    }
    return NULL;
}

static void no_wake_is_lost(void **state)
{
    struct race race = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct waiter waiters[WAITERS] = {0};
    pthread_t threads[WAITERS], publisher;
    race.park = park_create(wake_waiter, &race);
    for (int i = 0; i < WAITERS; i++) {
        waiters[i].race = &race;
        pthread_create(&threads[i], NULL, wait_for_all, &waiters[i]);
    }
    pthread_create(&publisher, NULL, publish_all, &race);
    pthread_join(publisher, NULL);
    for (int i = 0; i < WAITERS; i++)
        pthread_join(threads[i], NULL); /* a lost wake is a time-out of the test */
    park_destroy(&race.park);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_and_times),
        cmocka_unit_test(a_wake_between_look_and_park_counts),
        cmocka_unit_test(the_heap_is_a_heap),
        cmocka_unit_test(no_wake_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
