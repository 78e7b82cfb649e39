/* A ring, one mutex, two conditions. The conditions count in monotonic time, so a step of the wall clock neither wakes nor
 * strands anybody. Signals are sent with the mutex held: the waiter may be the one to destroy the queue next. */
#include "lib/base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/ensure.h"

static const int64_t at_once = INT64_MIN, for_ever = INT64_MAX;

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t has_items, has_room;
    bool closed;
    size_t first, length, capacity;
    void *items[];
};

static void condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    ensure(pthread_condattr_init(&attributes) == 0);
    ensure(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    ensure(pthread_cond_init(condition, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

struct queue *queue_create(size_t capacity)
{
    size_t size;
    ensure(capacity > 0 && !__builtin_mul_overflow(capacity, sizeof(void *), &size));
    ensure(!__builtin_add_overflow(size, sizeof(struct queue), &size));
    struct queue *queue = calloc(1, size);
    ensure(queue != NULL);
    queue->capacity = capacity;
    ensure(pthread_mutex_init(&queue->mutex, NULL) == 0);
    condition_init(&queue->has_items);
    condition_init(&queue->has_room);
    return queue;
}

void queue_destroy(struct queue **queue)
{
    if (!*queue)
        return;
    pthread_cond_destroy(&(*queue)->has_items);
    pthread_cond_destroy(&(*queue)->has_room);
    pthread_mutex_destroy(&(*queue)->mutex);
    free(*queue);
    *queue = NULL;
}

/* False when the deadline has passed. Wakes without a reason too, so the caller looks again. */
static bool wait_until(struct queue *queue, pthread_cond_t *condition, int64_t deadline_ms)
{
    if (deadline_ms == at_once)
        return false;
    if (deadline_ms == for_ever) {
        ensure(pthread_cond_wait(condition, &queue->mutex) == 0);
        return true;
    }
    int64_t deadline = deadline_ms < 0 ? 0 : deadline_ms;
    struct timespec until = {.tv_sec = (time_t)(deadline / 1000), .tv_nsec = (long)(deadline % 1000 * 1000000)};
    int result = pthread_cond_timedwait(condition, &queue->mutex, &until);
    ensure(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

bool queue_push_until(struct queue *queue, void *item, int64_t deadline_ms)
{
    ensure(item != NULL);
    pthread_mutex_lock(&queue->mutex);
    while (!queue->closed && queue->length == queue->capacity)
        if (!wait_until(queue, &queue->has_room, deadline_ms))
            break;
    bool pushed = !queue->closed && queue->length < queue->capacity;
    if (pushed) {
        queue->items[(queue->first + queue->length++) % queue->capacity] = item;
        pthread_cond_signal(&queue->has_items);
    }
    pthread_mutex_unlock(&queue->mutex);
    return pushed;
}

bool queue_push(struct queue *queue, void *item)
{
    return queue_push_until(queue, item, for_ever);
}

bool queue_try_push(struct queue *queue, void *item)
{
    return queue_push_until(queue, item, at_once);
}

void *queue_pop_until(struct queue *queue, int64_t deadline_ms)
{
    void *item = NULL;
    pthread_mutex_lock(&queue->mutex);
    while (!queue->closed && queue->length == 0)
        if (!wait_until(queue, &queue->has_items, deadline_ms))
            break;
    if (queue->length) {
        item = queue->items[queue->first];
        queue->first = (queue->first + 1) % queue->capacity;
        queue->length--;
        pthread_cond_signal(&queue->has_room);
    }
    pthread_mutex_unlock(&queue->mutex);
    return item;
}

void *queue_pop(struct queue *queue)
{
    return queue_pop_until(queue, for_ever);
}

void *queue_try_pop(struct queue *queue)
{
    return queue_pop_until(queue, at_once);
}

void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    pthread_cond_broadcast(&queue->has_items);
    pthread_cond_broadcast(&queue->has_room);
    pthread_mutex_unlock(&queue->mutex);
}

bool queue_is_closed(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    bool closed = queue->closed;
    pthread_mutex_unlock(&queue->mutex);
    return closed;
}

size_t queue_length(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    size_t length = queue->length;
    pthread_mutex_unlock(&queue->mutex);
    return length;
}
