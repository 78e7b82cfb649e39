/* Servers heard of lately; see alive.h. */
#include "workers/federation/alive.h"

#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/base/lru.h"
#include "proto/stubs.h"

enum { CACHE_BYTES = 1024 * 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lru *heard; /* server → monotonic ms as the pointer */

void alive_start(void)
{
    heard = lru_create(CACHE_BYTES, NULL);
}

void alive_note(struct call *call, struct slice server)
{
    int64_t now = clock_monotonic_ms();
    pthread_mutex_lock(&lock);
    int64_t last = (intptr_t)lru_get(heard, server);
    bool due = last == 0 || now - last > ALIVE_MS;
    if (due)
        lru_put(heard, server, (void *)(intptr_t)now, 16);
    pthread_mutex_unlock(&lock);
    struct destination_up_request request = {.destinations = {&server, 1}};
    struct destination_up_reply reply;
    if (due)
        call_destination_up(call, server, &request, &reply); /* a hint: its loss only delays */
}
