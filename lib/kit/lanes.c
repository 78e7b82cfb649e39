/* One list of items that may run now, and a table of lanes that are taken. A lane exists from its first item's push to the finish
 * of its last; what is pushed to an existing lane waits in it. So every item passes the ready list once, and a thread that takes
 * one never has to look for work further away. The table grows with the number of busy lanes and is never shrunk. */
#include "lib/kit/lanes.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/ensure.h"

struct lane {
    struct lane *next; /* of the bucket, or of the free list */
    uint64_t key;
    struct lane_item *first, **last; /* waiting */
    size_t waiting, bytes;           /* of them */
};

struct lanes {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct lane_item *ready, **ready_last;
    struct lane **buckets;
    size_t bucket_count, lane_count; /* bucket_count is a power of two */
    struct lane *unused;
    int64_t queued, running;
    bool is_closed;
};

struct lanes *lanes_create(void)
{
    struct lanes *lanes = calloc(1, sizeof *lanes);
    ensure(lanes);
    pthread_mutex_init(&lanes->lock, NULL);
    pthread_cond_init(&lanes->changed, NULL);
    lanes->ready_last = &lanes->ready;
    lanes->bucket_count = 64;
    lanes->buckets = calloc(lanes->bucket_count, sizeof *lanes->buckets);
    ensure(lanes->buckets);
    return lanes;
}

void lanes_destroy(struct lanes **lanes)
{
    if (!*lanes)
        return;
    ensure((*lanes)->queued == 0 && (*lanes)->lane_count == 0);
    while ((*lanes)->unused) {
        struct lane *lane = (*lanes)->unused;
        (*lanes)->unused = lane->next;
        free(lane);
    }
    pthread_mutex_destroy(&(*lanes)->lock);
    pthread_cond_destroy(&(*lanes)->changed);
    free((*lanes)->buckets);
    free(*lanes);
    *lanes = NULL;
}

/* ---- the table of taken lanes; all under the lock */

/* Keys are hashes already. */
static struct lane **lane_place(struct lanes *lanes, uint64_t key)
{
    struct lane **place = &lanes->buckets[key & (lanes->bucket_count - 1)];
    while (*place && (*place)->key != key)
        place = &(*place)->next;
    return place;
}

static void grow(struct lanes *lanes)
{
    struct lane **old = lanes->buckets;
    size_t old_count = lanes->bucket_count;
    lanes->bucket_count *= 2;
    lanes->buckets = calloc(lanes->bucket_count, sizeof *lanes->buckets);
    ensure(lanes->buckets);
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct lane *lane = old[i];
            old[i] = lane->next;
            struct lane **place = lane_place(lanes, lane->key);
            lane->next = NULL;
            *place = lane;
        }
    }
    free(old);
}

static void lane_open(struct lanes *lanes, uint64_t key)
{
    if (lanes->lane_count >= 2 * lanes->bucket_count)
        grow(lanes);
    struct lane *lane = lanes->unused;
    if (lane)
        lanes->unused = lane->next;
    else
        ensure(lane = malloc(sizeof *lane));
    *lane = (struct lane){.key = key};
    lane->last = &lane->first;
    *lane_place(lanes, key) = lane;
    lanes->lane_count++;
}

static void make_ready(struct lanes *lanes, struct lane_item *item)
{
    item->next = NULL;
    *lanes->ready_last = item;
    lanes->ready_last = &item->next;
    pthread_cond_signal(&lanes->changed);
}

/* ---- pushing, taking, finishing */

bool lanes_offer(struct lanes *lanes, struct lane_item *item, size_t waiting_most, size_t bytes_most)
{
    pthread_mutex_lock(&lanes->lock);
    struct lane *lane = item->lane ? *lane_place(lanes, item->lane) : NULL;
    if (lane && lane->waiting && (lane->waiting >= waiting_most || lane->bytes + item->bytes > bytes_most)) {
        pthread_mutex_unlock(&lanes->lock);
        return false;
    }
    lanes->queued++;
    if (lane) {
        item->next = NULL;
        *lane->last = item;
        lane->last = &item->next;
        lane->waiting++;
        lane->bytes += item->bytes;
    } else {
        if (item->lane)
            lane_open(lanes, item->lane);
        make_ready(lanes, item);
    }
    pthread_mutex_unlock(&lanes->lock);
    return true;
}

void lanes_push(struct lanes *lanes, struct lane_item *item)
{
    lanes_offer(lanes, item, SIZE_MAX, SIZE_MAX);
}

struct lane_item *lanes_take(struct lanes *lanes)
{
    pthread_mutex_lock(&lanes->lock);
    while (!lanes->ready && !(lanes->is_closed && lanes->queued == 0))
        pthread_cond_wait(&lanes->changed, &lanes->lock);
    struct lane_item *item = lanes->ready;
    if (item) {
        lanes->ready = item->next;
        if (!lanes->ready)
            lanes->ready_last = &lanes->ready;
        lanes->queued--;
        lanes->running++;
        if (lanes->is_closed && lanes->queued == 0)
            pthread_cond_broadcast(&lanes->changed);
    }
    pthread_mutex_unlock(&lanes->lock);
    return item;
}

void lanes_finish(struct lanes *lanes, uint64_t key)
{
    pthread_mutex_lock(&lanes->lock);
    lanes->running--;
    if (key) {
        struct lane **place = lane_place(lanes, key), *lane = *place;
        ensure(lane);
        struct lane_item *next = lane->first;
        if (next) {
            lane->first = next->next;
            lane->waiting--;
            lane->bytes -= next->bytes;
            if (!lane->first)
                lane->last = &lane->first;
            make_ready(lanes, next);
        } else {
            *place = lane->next;
            lane->next = lanes->unused;
            lanes->unused = lane;
            lanes->lane_count--;
        }
    }
    pthread_mutex_unlock(&lanes->lock);
}

void lanes_close(struct lanes *lanes)
{
    pthread_mutex_lock(&lanes->lock);
    lanes->is_closed = true;
    pthread_cond_broadcast(&lanes->changed);
    pthread_mutex_unlock(&lanes->lock);
}

int64_t lanes_queued(struct lanes *lanes)
{
    pthread_mutex_lock(&lanes->lock);
    int64_t queued = lanes->queued;
    pthread_mutex_unlock(&lanes->lock);
    return queued;
}

int64_t lanes_running(struct lanes *lanes)
{
    pthread_mutex_lock(&lanes->lock);
    int64_t running = lanes->running;
    pthread_mutex_unlock(&lanes->lock);
    return running;
}
