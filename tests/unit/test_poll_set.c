/* No news is missed: a peer answers at its own pace while we send, receive a part of what is there, and wait without a limit. A
 * missed edge would leave the wait for ever; the alarm then says so. */
#include "lib/kit/poll_set.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <zmq.h>

#include <cmocka.h>

enum { ROUNDS = 40000, IN_FLIGHT_MAX = 50, SECONDS = 120 };

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static uint64_t seed_of_this_run(void)
{
    const char *given = getenv("SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec * 2654435761u + 1;
    print_message("SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* ---- the peer: answers each message with itself, sometimes at once, sometimes after others */

struct peer {
    void *socket;
    uint64_t random;
};

static void *answer(void *context)
{
    struct peer *peer = context;
    char frames[2][64];
    int len[2];
    for (;;) {
        len[0] = zmq_recv(peer->socket, frames[0], sizeof frames[0], 0);
        len[1] = zmq_recv(peer->socket, frames[1], sizeof frames[1], 0);
        if (len[0] < 0 || len[1] == 0) /* an empty one ends it */
            return NULL;
        if (next_random(&peer->random) % 8 == 0)
            usleep((useconds_t)(next_random(&peer->random) % 200));
        zmq_send(peer->socket, frames[0], (size_t)len[0], ZMQ_SNDMORE);
        zmq_send(peer->socket, frames[1], (size_t)len[1], 0);
    }
}

static int receive_some(void *socket, int most)
{
    char frame[64];
    int received = 0;
    while (received < most && zmq_recv(socket, frame, sizeof frame, ZMQ_DONTWAIT) >= 0)
        received++;
    return received;
}

static void wait_for_one(struct poll_set *set)
{
    while (!poll_set_wait(set, -1))
        continue;
}

static void nothing_is_missed(void **state)
{
    uint64_t random = seed_of_this_run();
    void *context = zmq_ctx_new(), *ours[2], *theirs[2];
    struct peer peers[2];
    pthread_t threads[2];
    struct poll_set set = {0};
    int in_flight[2] = {0, 0}, descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    poll_set_add(&set, NULL, descriptor);
    for (int i = 0; i < 2; i++) {
        char address[64];
        size_t size = sizeof address;
        theirs[i] = zmq_socket(context, ZMQ_ROUTER);
        ours[i] = zmq_socket(context, ZMQ_DEALER);
        assert_int_equal(zmq_bind(theirs[i], "ipc://*"), 0);
        assert_int_equal(zmq_getsockopt(theirs[i], ZMQ_LAST_ENDPOINT, address, &size), 0);
        assert_int_equal(zmq_connect(ours[i], address), 0);
        peers[i] = (struct peer){theirs[i], next_random(&random) | 1};
        assert_int_equal(pthread_create(&threads[i], NULL, answer, &peers[i]), 0);
        assert_int_equal(poll_set_add(&set, ours[i], -1), i + 1);
    }
    alarm(SECONDS);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 2; i++) {
            for (uint64_t sends = next_random(&random) % 4; sends > 0 && in_flight[i] < IN_FLIGHT_MAX; sends--, in_flight[i]++) {
                poll_set_used(&set, ours[i]);
                assert_int_equal(zmq_send(ours[i], "hello", 5, 0), 5);
            }
        }
        if (next_random(&random) % 4 == 0) { /* as a look at one socket for another's sake does: it may find what came */
            int i = (int)(next_random(&random) % 2);
            poll_set_used(&set, ours[i]);
            in_flight[i] -= receive_some(ours[i], 1);
        }
        if (in_flight[0] + in_flight[1] == 0)
            continue;
        wait_for_one(&set);
        assert_false(set.items[0].ready);
        for (int i = 0; i < 2; i++)
            if (set.items[i + 1].ready)
                in_flight[i] -= receive_some(ours[i], 1 + (int)(next_random(&random) % 3));
    }
    while (in_flight[0] + in_flight[1] > 0) {
        wait_for_one(&set);
        for (int i = 0; i < 2; i++)
            if (set.items[i + 1].ready)
                in_flight[i] -= receive_some(ours[i], 1);
    }
    alarm(0);
    assert_false(poll_set_wait(&set, 0));
    assert_int_equal(eventfd_write(descriptor, 1), 0);
    wait_for_one(&set);
    assert_true(set.items[0].ready && !set.items[1].ready && !set.items[2].ready);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(zmq_send(ours[i], "", 0, 0), 0);
        pthread_join(threads[i], NULL);
        zmq_close(ours[i]);
        zmq_close(theirs[i]);
    }
    close(descriptor);
    poll_set_free(&set);
    zmq_ctx_term(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_missed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
