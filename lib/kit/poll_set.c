/* See poll_set.h. */
#include "lib/kit/poll_set.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <zmq.h>

#include "lib/base/ensure.h"

void poll_set_clear(struct poll_set *set)
{
    set->count = 0;
}

static int descriptor_of(void *socket)
{
    int descriptor;
    size_t size = sizeof descriptor;
    ensure(zmq_getsockopt(socket, ZMQ_FD, &descriptor, &size) == 0);
    return descriptor;
}

size_t poll_set_add(struct poll_set *set, void *socket, int descriptor)
{
    if (set->count == set->capacity) {
        set->capacity = set->capacity ? 2 * set->capacity : 16;
        set->items = realloc(set->items, set->capacity * sizeof *set->items);
        set->polled = realloc(set->polled, set->capacity * sizeof *set->polled);
        ensure(set->items && set->polled);
    }
    if (socket)
        descriptor = descriptor_of(socket);
    set->items[set->count] = (struct poll_item){.socket = socket, .used = socket != NULL};
    set->polled[set->count] = (struct pollfd){.fd = descriptor, .events = POLLIN};
    return set->count++;
}

void poll_set_used(struct poll_set *set, const void *socket)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->items[i].socket == socket)
            set->items[i].used = true;
}

/* This is what takes the news from the descriptor: it is signalled again for what comes later. */
static bool has_input(void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    while (zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) != 0)
        ensure(errno == EINTR);
    return events & ZMQ_POLLIN;
}

static bool ask(struct poll_item *item)
{
    item->ready = has_input(item->socket);
    item->used = item->ready; /* by whoever receives from it now */
    return item->ready;
}

bool poll_set_wait(struct poll_set *set, long timeout_ms)
{
    bool any = false;
    for (size_t i = 0; i < set->count; i++) {
        set->items[i].ready = false;
        if (set->items[i].socket && set->items[i].used)
            any |= ask(&set->items[i]);
    }
    int signalled = poll(set->polled, set->count, any ? 0 : (int)timeout_ms);
    ensure(signalled >= 0 || errno == EINTR);
    for (size_t i = 0; signalled > 0 && i < set->count; i++) {
        struct poll_item *item = &set->items[i];
        if (!set->polled[i].revents || item->ready)
            continue;
        if (!item->socket)
            any = item->ready = true;
        else
            any |= ask(item);
    }
    return any;
}

void poll_set_free(struct poll_set *set)
{
    free(set->items);
    free(set->polled);
    *set = (struct poll_set){0};
}
