/* Topics are links in hash chains, times are a heap, and the look-and-park race is settled by a small table: for each topic's hash
 * the sequence at which it was last woken. Two topics may share a place there: then a handler runs once more than it had to. */
#include "lib/kit/park.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/ensure.h"

enum { RECENT_SIZE = 4096, FIRST_BUCKETS = 256 };

struct park_topic {
    struct park_topic *next, **link; /* of the chain */
    uint64_t hash;
    struct park_entry *entry;
    char *text; /* NUL terminated, behind the array of topics */
    size_t len;
};

struct park {
    pthread_mutex_t lock;
    void (*wake)(struct park_entry *entry, void *context);
    void *context;
    uint64_t sequence, all_woken; /* all_woken: sequence of the last park_wake_all */
    uint64_t recent[RECENT_SIZE]; /* by hash: sequence of the last wake */
    struct park_topic **buckets;
    size_t bucket_count, topic_count;
    struct park_entry **heap; /* nearest first */
    size_t count, capacity;
};

struct park *park_create(void (*wake)(struct park_entry *entry, void *context), void *context)
{
    struct park *park = calloc(1, sizeof *park);
    ensure(park);
    pthread_mutex_init(&park->lock, NULL);
    park->wake = wake;
    park->context = context;
    park->bucket_count = FIRST_BUCKETS;
    park->buckets = calloc(park->bucket_count, sizeof *park->buckets);
    ensure(park->buckets);
    return park;
}

void park_destroy(struct park **park)
{
    if (!*park)
        return;
    ensure((*park)->count == 0);
    pthread_mutex_destroy(&(*park)->lock);
    free((*park)->buckets);
    free((*park)->heap);
    free(*park);
    *park = NULL;
}

/* ---- the heap of times */

static void heap_set(struct park *park, size_t at, struct park_entry *entry)
{
    park->heap[at] = entry;
    entry->heap_place = at + 1;
}

static void heap_settle(struct park *park, size_t at)
{
    struct park_entry *entry = park->heap[at];
    while (at && park->heap[(at - 1) / 2]->until_ms > entry->until_ms) {
        heap_set(park, at, park->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (size_t child; (child = 2 * at + 1) < park->count; at = child) {
        if (child + 1 < park->count && park->heap[child + 1]->until_ms < park->heap[child]->until_ms)
            child++;
        if (park->heap[child]->until_ms >= entry->until_ms)
            break;
        heap_set(park, at, park->heap[child]);
    }
    heap_set(park, at, entry);
}

static void heap_add(struct park *park, struct park_entry *entry)
{
    if (park->count == park->capacity) {
        park->capacity = park->capacity ? 2 * park->capacity : 64;
        park->heap = realloc(park->heap, park->capacity * sizeof *park->heap);
        ensure(park->heap);
    }
    park->heap[park->count++] = entry;
    heap_settle(park, park->count - 1);
}

static void heap_remove(struct park *park, struct park_entry *entry)
{
    size_t at = entry->heap_place - 1;
    entry->heap_place = 0;
    struct park_entry *last = park->heap[--park->count];
    if (last != entry) {
        heap_set(park, at, last);
        heap_settle(park, at);
    }
}

/* ---- chains of topics */

static void link_topic(struct park *park, struct park_topic *topic)
{
    struct park_topic **chain = &park->buckets[topic->hash & (park->bucket_count - 1)];
    topic->next = *chain;
    topic->link = chain;
    if (topic->next)
        topic->next->link = &topic->next;
    *chain = topic;
}

static void unlink_topic(struct park_topic *topic)
{
    *topic->link = topic->next;
    if (topic->next)
        topic->next->link = topic->link;
}

static void grow_chains(struct park *park)
{
    struct park_topic **old = park->buckets;
    size_t old_count = park->bucket_count;
    park->bucket_count *= 4;
    park->buckets = calloc(park->bucket_count, sizeof *park->buckets);
    ensure(park->buckets);
    for (size_t i = 0; i < old_count; i++) {
        for (struct park_topic *topic = old[i], *next; topic; topic = next) {
            next = topic->next;
            link_topic(park, topic);
        }
    }
    free(old);
}

/* One block: the topics, then their texts. */
static void copy_topics(struct park_entry *entry, const struct slice *topics, size_t count)
{
    size_t bytes = count * sizeof *entry->topics;
    for (size_t i = 0; i < count; i++)
        bytes += topics[i].len + 1;
    entry->topics = malloc(bytes ? bytes : 1);
    ensure(entry->topics);
    entry->topic_count = count;
    char *text = (char *)(entry->topics + count);
    for (size_t i = 0; i < count; i++) {
        entry->topics[i] = (struct park_topic){.hash = slice_hash(topics[i]), .entry = entry, .text = text, .len = topics[i].len};
        memcpy(text, topics[i].at ? topics[i].at : "", topics[i].len);
        text[topics[i].len] = '\0';
        text += topics[i].len + 1;
    }
}

void park_forget(struct park_entry *entry)
{
    ensure(!entry->heap_place);
    free(entry->topics);
    entry->topics = NULL;
    entry->topic_count = 0;
    entry->woken_by = NULL;
}

/* ---- parking */

uint64_t park_sequence(struct park *park)
{
    pthread_mutex_lock(&park->lock);
    uint64_t sequence = park->sequence;
    pthread_mutex_unlock(&park->lock);
    return sequence;
}

/* The topic that was woken since, or NULL. */
static const char *missed(const struct park *park, const struct park_entry *entry, uint64_t since)
{
    if (park->all_woken > since)
        return "*";
    for (size_t i = 0; i < entry->topic_count; i++) {
        if (park->recent[entry->topics[i].hash % RECENT_SIZE] > since)
            return entry->topics[i].text;
    }
    return NULL;
}

bool park_add(struct park *park, struct park_entry *entry, const struct slice *topics, size_t count, int64_t until_ms,
              uint64_t since, bool *is_next)
{
    park_forget(entry);
    copy_topics(entry, topics, count);
    entry->until_ms = until_ms;
    pthread_mutex_lock(&park->lock);
    entry->woken_by = missed(park, entry, since);
    bool parked = !entry->woken_by;
    if (parked) {
        for (size_t i = 0; i < count; i++)
            link_topic(park, &entry->topics[i]);
        park->topic_count += count;
        if (park->topic_count > 2 * park->bucket_count)
            grow_chains(park);
        heap_add(park, entry);
        *is_next = entry->heap_place == 1;
    }
    pthread_mutex_unlock(&park->lock);
    return parked;
}

/* Under the lock. */
static void take_out(struct park *park, struct park_entry *entry)
{
    for (size_t i = 0; i < entry->topic_count; i++)
        unlink_topic(&entry->topics[i]);
    park->topic_count -= entry->topic_count;
    heap_remove(park, entry);
}

bool park_remove(struct park *park, struct park_entry *entry)
{
    pthread_mutex_lock(&park->lock);
    bool parked = entry->heap_place != 0;
    if (parked)
        take_out(park, entry);
    pthread_mutex_unlock(&park->lock);
    return parked;
}

/* ---- waking */

static void wake_list(struct park *park, struct park_entry *list)
{
    while (list) {
        struct park_entry *entry = list;
        list = entry->next;
        park->wake(entry, park->context);
    }
}

void park_wake(struct park *park, struct slice topic)
{
    uint64_t hash = slice_hash(topic);
    struct park_entry *woken = NULL, **last = &woken;
    pthread_mutex_lock(&park->lock);
    park->recent[hash % RECENT_SIZE] = ++park->sequence;
    struct park_topic **place = &park->buckets[hash & (park->bucket_count - 1)];
    for (struct park_topic *at = *place; at;) {
        if (at->hash != hash || !slice_eq(slice_of(at->text, at->len), topic)) {
            at = at->next;
            continue;
        }
        struct park_entry *entry = at->entry;
        entry->woken_by = at->text;
        take_out(park, entry);
        entry->next = NULL;
        *last = entry;
        last = &entry->next;
        at = *place; /* its other topics may have been in this chain too */
    }
    pthread_mutex_unlock(&park->lock);
    wake_list(park, woken);
}

void park_wake_all(struct park *park)
{
    struct park_entry *woken = NULL;
    pthread_mutex_lock(&park->lock);
    park->all_woken = ++park->sequence;
    while (park->count) {
        struct park_entry *entry = park->heap[park->count - 1];
        take_out(park, entry);
        entry->woken_by = "*";
        entry->next = woken;
        woken = entry;
    }
    pthread_mutex_unlock(&park->lock);
    wake_list(park, woken);
}

void park_expire(struct park *park, int64_t now_ms)
{
    struct park_entry *woken = NULL, **last = &woken;
    pthread_mutex_lock(&park->lock);
    while (park->count && park->heap[0]->until_ms <= now_ms) {
        struct park_entry *entry = park->heap[0];
        take_out(park, entry);
        entry->next = NULL;
        *last = entry;
        last = &entry->next;
    }
    pthread_mutex_unlock(&park->lock);
    wake_list(park, woken);
}

int64_t park_next_ms(struct park *park)
{
    pthread_mutex_lock(&park->lock);
    int64_t next = park->count ? park->heap[0]->until_ms : INT64_MAX;
    pthread_mutex_unlock(&park->lock);
    return next;
}

size_t park_count(struct park *park)
{
    pthread_mutex_lock(&park->lock);
    size_t count = park->count;
    pthread_mutex_unlock(&park->lock);
    return count;
}

void park_each(struct park *park, void (*seen)(const struct park_entry *entry, void *context), void *context)
{
    pthread_mutex_lock(&park->lock);
    for (size_t i = 0; i < park->count; i++)
        seen(park->heap[i], context);
    pthread_mutex_unlock(&park->lock);
}

void park_entry_topics(const struct park_entry *entry, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < entry->topic_count && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i ? ", " : "", entry->topics[i].text);
}
