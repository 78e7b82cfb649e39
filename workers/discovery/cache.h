/* Answers kept for a while, bounded in bytes, and the rule that equal questions are asked once at a time. Values are packed bytes,
 * shared by reference: what is read from the cache stays valid for the arena's life, whatever happens to the cache. Any thread. */
#ifndef MYELIN_DISCOVERY_CACHE_H
#define MYELIN_DISCOVERY_CACHE_H

#include "lib/base/arena.h"

struct cache;
struct cache_value {
    struct slice bytes;
    enum { CACHE_GOOD, CACHE_BAD } verdict;
    int failures; /* in a row */
    int64_t made_ms, valid_until_ms;
};

struct cache *cache_create(size_t limit_bytes);
void cache_destroy(struct cache **cache);
size_t cache_bytes(struct cache *cache);

enum cache_turn {
    CACHE_HIT,     /* *value is there */
    CACHE_YOURS,   /* nobody knows: find out, then call cache_settle (or let the arena die: the next in line takes over) */
    CACHE_TOO_LATE /* somebody is at it, but not before the deadline */
};
/* What is older than not_before_ms, or no longer valid at now_ms, is not good enough. With YOURS *value is the outdated one, its
 * bytes absent if there was none. */
enum cache_turn cache_ask(struct cache *cache, struct arena *arena, struct slice key, int64_t now_ms, int64_t not_before_ms,
                          int64_t deadline_ms, struct cache_value *value, bool *waited);
/* Ends our turn. Absent bytes: nothing is kept. */
void cache_settle(struct cache *cache, struct slice key, const struct cache_value *value);

#endif
