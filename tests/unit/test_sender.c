/* The sender's pure parts: back-off, the queue of EDUs, transactions, what a destination owes, the set of seen events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "workers/sender/backoff.c"
#include "workers/sender/destination.c"
#include "workers/sender/edu_queue.c"
#include "workers/sender/seen.c"
#include "workers/sender/transaction.c"

#include <cmocka.h>

static struct arena *arena;

static int set_up(void **state)
{
    arena = arena_create(1 << 24);
    destinations_start();
    return 0;
}

static int tear_down(void **state)
{
    size_t at = 0;
    for (struct destination *each; destination_next(&at, &each);) {
        map_remove(by_server, each->server);
        destroy(each);
    }
    map_destroy(&by_server);
    arena_destroy(&arena);
    return 0;
}

static void test_backoff(void **state)
{
    struct backoff backoff = {0};
    int64_t now_ms = 1000000;
    backoff_fail(&backoff, now_ms, 0);
    assert_int_equal(backoff.failing_since_ms, now_ms);
    assert_int_equal(backoff.retry_ms, now_ms + 200); /* 250 ms less a fifth */
    assert_true(backoff_is_waiting(&backoff, now_ms + 199));
    assert_false(backoff_is_waiting(&backoff, now_ms + 200));
    backoff_fail(&backoff, now_ms + 10, 0); /* one that started earlier */
    assert_int_equal(backoff.interval_ms, BACKOFF_FIRST_MS);
    for (int i = 0; i < 20; i++)
        backoff_fail(&backoff, backoff.retry_ms, UINT64_MAX - (uint64_t)i);
    assert_int_equal(backoff.interval_ms, BACKOFF_MAX_MS);
    assert_int_equal(backoff.failing_since_ms, now_ms);
    backoff_wake(&backoff);
    assert_true(backoff_is_failing(&backoff));
    assert_false(backoff_is_waiting(&backoff, 1));
    backoff_clear(&backoff);
    assert_false(backoff_is_failing(&backoff));
}

static void assert_edus(struct edu_queue *queue, const char *expected)
{
    struct slice out[EDU_QUEUE_MAX];
    struct strbuf text = strbuf_in(arena);
    size_t count = edu_queue_take(queue, arena, EDU_QUEUE_MAX, out);
    for (size_t i = 0; i < count; i++) {
        const struct json *edu = json_parse(arena, out[i], JSON_CANONICAL, NULL);
        strbuf_add(&text, json_get_cstr(edu, "content")->span);
        assert_false(slice_is_absent(json_get_string(edu, "edu_type")));
    }
    strbuf_add_char(&text, '\0');
    assert_string_equal(text.at, expected);
}

static void test_edu_queue(void **state)
{
    struct edu_queue queue = {0};
    const struct slice typing = SLICE("m.typing"), presence = SLICE("m.presence"), receipt = SLICE("m.receipt");
    assert_true(edu_queue_put(&queue, presence, SLICE("a"), SLICE("1")));
    assert_true(edu_queue_put(&queue, typing, SLICE_ABSENT, SLICE("2")));
    assert_true(edu_queue_put(&queue, receipt, SLICE("a"), SLICE("3")));
    assert_true(edu_queue_put(&queue, presence, SLICE("a"), SLICE("4")));
    assert_true(edu_queue_put(&queue, typing, SLICE_ABSENT, SLICE("5")));
    assert_true(edu_queue_put(&queue, presence, SLICE(""), SLICE("6")));
    assert_true(edu_queue_put(&queue, SLICE("m.direct_to_device"), SLICE_ABSENT, SLICE("7")));
    assert_edus(&queue, "732546");
    assert_int_equal(queue.bytes, 0);

    for (int i = 0; i < EDU_QUEUE_MAX; i++)
        assert_true(edu_queue_put(&queue, presence, SLICE_ABSENT, SLICE("8")));
    assert_true(edu_queue_put(&queue, receipt, SLICE_ABSENT, SLICE("9"))); /* an old presence goes */
    assert_int_equal(queue.count, EDU_QUEUE_MAX);
    edu_queue_drop(&queue, EDU_TYPING);
    assert_edus(&queue, "9");
    for (int i = 0; i < EDU_QUEUE_MAX; i++)
        edu_queue_put(&queue, receipt, SLICE_ABSENT, SLICE("9"));
    assert_false(edu_queue_put(&queue, presence, SLICE_ABSENT, SLICE("8")));
    struct edu_queue first = {0};
    edu_queue_split(&queue, 3, &first);
    assert_int_equal(first.count, 3);
    assert_int_equal(queue.count, EDU_QUEUE_MAX - 3);
    edu_queue_drop(&first, EDU_TO_DEVICE);
    edu_queue_drop(&queue, EDU_TO_DEVICE);
    assert_int_equal(queue.bytes + queue.count + first.bytes, 0);
}

static void test_transaction(void **state)
{
    struct slice pdus[] = {SLICE("{\"a\":1}"), SLICE("{\"b\":2}")}, edus[] = {SLICE("{\"content\":{},\"edu_type\":\"m.x\"}")};
    struct slice body = transaction_body(arena, SLICE("us"), 5, (struct slices){pdus, 2}, (struct slices){edus, 1});
    assert_true(slice_eq(body, SLICE("{\"edus\":[{\"content\":{},\"edu_type\":\"m.x\"}],\"origin\":\"us\",\"origin_server_ts\":5,"
                                     "\"pdus\":[{\"a\":1},{\"b\":2}]}")));
    assert_true(slice_eq(json_canonical(arena, json_parse(arena, body, JSON_CANONICAL, NULL), NULL), body));
    body = transaction_body(arena, SLICE("us"), 5, (struct slices){0}, (struct slices){0});
    assert_true(slice_eq(body, SLICE("{\"origin\":\"us\",\"origin_server_ts\":5,\"pdus\":[]}")));

    char one[TRANSACTION_ID_BYTES], two[TRANSACTION_ID_BYTES];
    transaction_id(one, UINT64_MAX, INT64_MAX, UINT64_MAX);
    assert_true(strlen(one) < TRANSACTION_ID_BYTES - 1);
    transaction_id(two, UINT64_MAX, INT64_MAX, 1);
    assert_string_not_equal(one, two);

    struct slice ids[2], errors[2];
    assert_int_equal(
        transaction_errors(arena, SLICE("{\"pdus\":{\"$a\":{},\"$b\":{\"error\":\"no\"},\"$c\":{\"error\":1}}}"), ids, errors, 2),
        1);
    assert_true(slice_eq(ids[0], SLICE("$b")) && slice_eq(errors[0], SLICE("no")));
    assert_int_equal(
        transaction_errors(arena, SLICE("{\"pdus\":{\"$b\":{\"error\":\"x\"},\"$c\":{\"error\":\"y\"},\"$d\":{\"error\":\"z\"}}}"),
                           ids, errors, 2),
        2);
    assert_int_equal(transaction_errors(arena, SLICE("nonsense"), ids, errors, 2), 0);
    assert_int_equal(transaction_errors(arena, SLICE("{\"pdus\":[]}"), ids, errors, 2), 0);
}

static void push(struct destination *destination, int64_t nid, int64_t pos)
{
    struct pdu *pdu = pdu_create(nid, pos, SLICE("{}"));
    destination_push(destination, pdu);
    pdu_release(pdu);
}

static struct owed_list list_of(size_t count, const int64_t *nids)
{
    struct owed_list list = {malloc((count + 1) * sizeof(int64_t)), malloc((count + 1) * sizeof(int64_t)), count, 0};
    for (size_t i = 0; i < count; i++)
        list.nids[i] = list.positions[i] = nids[i];
    return list;
}

static void fly(struct destination *destination, size_t count, const int64_t *nids)
{
    destination->flight = calloc(1, sizeof *destination->flight);
    destination->flight->nid_count = count;
    destination->flight->made_ms = clock_monotonic_ms();
    memcpy(destination->flight->nids, nids, count * sizeof *nids);
    destination->flight->min_pos = nids[0];
}

static void test_destination_live(void **state)
{
    struct destination *destination = destination_get(SLICE("live.example"));
    assert_ptr_equal(destination, destination_get(SLICE("live.example")));
    assert_false(destination_has_work(destination, true));
    push(destination, 5, 50);
    push(destination, 4, 40);
    push(destination, 5, 50); /* told twice */
    assert_int_equal(destination->queue_count, 2);
    assert_int_equal(undelivered_pos(destination), 40);
    assert_false(destination_has_work(destination, false));
    fly(destination, 2, (int64_t[]){5, 4});
    push(destination, 6, 60);
    destination_landed(destination);
    assert_int_equal(undelivered_pos(destination), 60);
    fly(destination, 1, (int64_t[]){6});
    destination_landed(destination);
    assert_int_equal(undelivered_pos(destination), 0);
    assert_false(destination_has_work(destination, true));
}

static void test_destination_overflow(void **state)
{
    struct destination *destination = destination_get(SLICE("full.example"));
    for (int64_t i = 0; i <= QUEUE_PDUS_MAX; i++)
        push(destination, 1000 + i, 1000 + i);
    assert_false(destination->is_live);
    assert_int_equal(destination->queue_count, 0);
    assert_int_equal(destination->owed_pos, 1000);
    push(destination, 7, 7); /* a transaction that took long */
    assert_int_equal(undelivered_pos(destination), 7);
}

static void test_destination_catches_up(void **state)
{
    struct destination *destination = destination_get(SLICE("late.example"));
    push(destination, 10, 10);
    fly(destination, 1, (int64_t[]){10});
    destination_fall_back(destination, true);
    assert_int_equal(destination->owed_pos, 10);
    assert_non_null(destination->flight); /* tried again as it is */
    push(destination, 11, 11);
    assert_int_equal(destination->queue_count, 0);
    destination_landed(destination);
    assert_int_equal(undelivered_pos(destination), 10); /* until the database is asked */
    destination->asking_pos = destination->owed_pos;
    destination->owed_pos = 0;
    destination->is_live = true;
    assert_int_equal(undelivered_pos(destination), 10);
    push(destination, 12, 12); /* by hint, and in the answer as well */
    push(destination, 13, 13);
    destination->asking_pos = 0;
    destination_set_list(destination, list_of(3, (int64_t[]){10, 11, 12}));
    assert_int_equal(destination->list.count, 2); /* 10 was on the flight */
    assert_int_equal(destination->queue_count, 1);
    assert_int_equal(undelivered_pos(destination), 11);
    fly(destination, 1, (int64_t[]){11});
    destination_landed(destination);
    assert_int_equal(undelivered_pos(destination), 12);
    destination_owe(destination, 9); /* found by a look, while the list is under way */
    fly(destination, 1, (int64_t[]){12});
    destination_landed(destination);
    assert_int_equal(destination->list.count, 0);
    assert_int_equal(undelivered_pos(destination), 9);
    destination_lose(destination);
    assert_int_equal(undelivered_pos(destination), 0);
}

static void test_destination_flights_that_are_not_kept(void **state)
{
    struct destination *destination = destination_get(SLICE("down.example"));
    fly(destination, 1, (int64_t[]){3});
    destination->flight->edu_row_count = 1;
    destination->flight->len = FLIGHT_KEPT_BYTES_MAX + 1;
    destination_fall_back(destination, true);
    assert_null(destination->flight);
    assert_true(destination->has_outbox);
    assert_int_equal(destination->owed_pos, 3);
    destination_lose(destination);
    fly(destination, 1, (int64_t[]){3});
    destination_fall_back(destination, false); /* its events are another worker's now */
    assert_null(destination->flight);
    assert_int_equal(undelivered_pos(destination), 0);
}

static void test_seen(void **state)
{
    for (int64_t nid = 1; nid <= 5000; nid++)
        assert_true(seen_add(nid, nid / 10));
    assert_false(seen_add(77, 7));
    assert_false(seen_has(5001));
    seen_forget_below(100);
    assert_false(seen_has(999));
    for (int64_t nid = 1000; nid <= 5000; nid++)
        assert_true(seen_has(nid));
    seen_forget_below(INT64_MAX);
    for (int64_t nid = 1; nid <= SEEN_MAX; nid++)
        assert_true(seen_add(nid, 1));
    assert_false(seen_add(SEEN_MAX + 1, 1));
    seen_forget_below(2);
    assert_true(seen_add(SEEN_MAX + 1, 1));
    seen_forget_below(INT64_MAX);
    free(places);
    places = NULL;
}

static void test_refused_transactions(void **state)
{
    struct destination *destination = destination_get(SLICE("narrow.example"));
    size_t pdus = TRANSACTION_PDUS_MAX, edus = TRANSACTION_EDUS_MAX;
    assert_int_equal(destination_pdus_max(destination), pdus);
    for (int i = 0; i < 10; i++) { /* both are refused, over and over */
        destination->flight = calloc(1, sizeof *destination->flight);
        destination->flight->nid_count = destination_pdus_max(destination);
        destination->flight->edu_count = destination_edus_max(destination, destination->flight->nid_count);
        bool alone = destination_narrow(destination);
        assert_int_equal(alone, i >= 8);
        flight_destroy(&destination->flight);
        assert_true(destination_pdus_max(destination) <= pdus && destination_edus_max(destination, 1) <= edus);
        pdus = destination_pdus_max(destination);
        edus = destination_edus_max(destination, 1);
    }
    assert_int_equal(pdus, 1);
    assert_int_equal(edus, 0);
    assert_int_equal(destination_edus_max(destination, 0), 1);
    destination->flight = calloc(1, sizeof *destination->flight);
    destination_landed(destination);
    assert_int_equal(destination_edus_max(destination, 1), 1); /* wider again with each success */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_edu_queue),
        cmocka_unit_test(test_refused_transactions),
        cmocka_unit_test(test_transaction),
        cmocka_unit_test(test_destination_live),
        cmocka_unit_test(test_destination_overflow),
        cmocka_unit_test(test_destination_catches_up),
        cmocka_unit_test(test_destination_flights_that_are_not_kept),
        cmocka_unit_test(test_seen),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
