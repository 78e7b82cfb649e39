/* Chained hash table and a doubly linked list in the order of use, through the same nodes. */
#include "lib/base/lru.h"

#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/keyed_hash.h"

enum { FIRST_BUCKETS = 64 };

struct node {
    struct node *newer, *older; /* in a ring with lru->ends */
    struct node *chain;         /* next of the same bucket */
    uint64_t hash;
    void *value;
    size_t cost;
    struct slice key; /* its bytes follow the node */
};

struct lru {
    struct node ends; /* ends.older is the newest, ends.newer the oldest */
    struct node **buckets;
    size_t bucket_count; /* a power of two */
    size_t count, bytes, limit;
    void (*free_value)(void *value);
};

static struct node **buckets_create(size_t count)
{
    struct node **buckets = calloc(count, sizeof *buckets);
    ensure(buckets != NULL);
    return buckets;
}

struct lru *lru_create(size_t limit_bytes, void (*free_value)(void *value))
{
    struct lru *lru = calloc(1, sizeof *lru);
    ensure(lru != NULL);
    lru->ends.newer = lru->ends.older = &lru->ends;
    lru->bucket_count = FIRST_BUCKETS;
    lru->buckets = buckets_create(lru->bucket_count);
    lru->limit = limit_bytes;
    lru->free_value = free_value;
    return lru;
}

void lru_destroy(struct lru **lru)
{
    if (!*lru)
        return;
    lru_clear(*lru);
    free((*lru)->buckets);
    free(*lru);
    *lru = NULL;
}

/* Where the pointer to the key's node is, or the NULL at the end of its chain. */
static struct node **find(const struct lru *lru, struct slice key, uint64_t hash)
{
    struct node **link = &lru->buckets[hash & (lru->bucket_count - 1)];
    while (*link && !((*link)->hash == hash && slice_eq((*link)->key, key)))
        link = &(*link)->chain;
    return link;
}

static void ring_remove(struct node *node)
{
    node->newer->older = node->older;
    node->older->newer = node->newer;
}

static void ring_add_newest(struct lru *lru, struct node *node)
{
    node->newer = &lru->ends;
    node->older = lru->ends.older;
    node->older->newer = node;
    lru->ends.older = node;
}

static void drop(struct lru *lru, struct node **link)
{
    struct node *node = *link;
    *link = node->chain;
    ring_remove(node);
    lru->count--;
    lru->bytes -= node->cost;
    if (lru->free_value)
        lru->free_value(node->value);
    free(node);
}

static void drop_oldest(struct lru *lru)
{
    struct node *oldest = lru->ends.newer, **link = &lru->buckets[oldest->hash & (lru->bucket_count - 1)];
    while (*link != oldest)
        link = &(*link)->chain;
    drop(lru, link);
}

static void grow_buckets(struct lru *lru)
{
    size_t count = lru->bucket_count * 2;
    struct node **buckets = buckets_create(count);
    for (struct node *node = lru->ends.newer; node != &lru->ends; node = node->newer) {
        struct node **bucket = &buckets[node->hash & (count - 1)];
        node->chain = *bucket;
        *bucket = node;
    }
    free(lru->buckets);
    lru->buckets = buckets;
    lru->bucket_count = count;
}

static struct node *node_create(struct slice key, uint64_t hash, void *value, size_t cost)
{
    struct node *node = malloc(sizeof *node + key.len);
    ensure(node != NULL);
    char *key_bytes = (char *)(node + 1);
    if (key.len)
        memcpy(key_bytes, key.at, key.len);
    *node = (struct node){.hash = hash, .value = value, .cost = cost, .key = slice_of(key_bytes, key.len)};
    return node;
}

void lru_put(struct lru *lru, struct slice key, void *value, size_t cost_bytes)
{
    lru_remove(lru, key);
    size_t cost;
    if (__builtin_add_overflow(cost_bytes, sizeof(struct node) + key.len, &cost) || cost > lru->limit) {
        if (lru->free_value)
            lru->free_value(value);
        return;
    }
    while (lru->bytes > lru->limit - cost)
        drop_oldest(lru);
    if (lru->count == lru->bucket_count)
        grow_buckets(lru);
    uint64_t hash = slice_hash_keyed(key);
    struct node *node = node_create(key, hash, value, cost), **bucket = &lru->buckets[hash & (lru->bucket_count - 1)];
    node->chain = *bucket;
    *bucket = node;
    ring_add_newest(lru, node);
    lru->count++;
    lru->bytes += cost;
}

void *lru_get(struct lru *lru, struct slice key)
{
    struct node *node = *find(lru, key, slice_hash_keyed(key));
    if (!node)
        return NULL;
    ring_remove(node);
    ring_add_newest(lru, node);
    return node->value;
}

bool lru_remove(struct lru *lru, struct slice key)
{
    struct node **link = find(lru, key, slice_hash_keyed(key));
    if (!*link)
        return false;
    drop(lru, link);
    return true;
}

void lru_clear(struct lru *lru)
{
    while (lru->count)
        drop_oldest(lru);
}

size_t lru_count(const struct lru *lru)
{
    return lru->count;
}

size_t lru_bytes(const struct lru *lru)
{
    return lru->bytes;
}
