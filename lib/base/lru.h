/* A cache bounded in bytes: what was not used for longest goes first. It owns its values and frees them with the callback,
 * which must not use the cache. Keys are copied. A key's length and the entry itself count too, so that many small things
 * are not free. Not thread safe: the caller locks, and keeps the lock while using a value that it got. */
#ifndef MYELIN_BASE_LRU_H
#define MYELIN_BASE_LRU_H

#include "lib/base/slice.h"

struct lru;

struct lru *lru_create(size_t limit_bytes, void (*free_value)(void *value)); /* NULL: nothing to free */
void lru_destroy(struct lru **lru);                                          /* accepts NULL inside */

/* Takes the value over, also when it can not be kept: one that costs more than the whole cache is freed at once (and an
 * older value of the key with it). So do not touch `value` afterwards without asking for it again. */
void lru_put(struct lru *lru, struct slice key, void *value, size_t cost_bytes);
void *lru_get(struct lru *lru, struct slice key); /* NULL when there is none; counts as use */
bool lru_remove(struct lru *lru, struct slice key);
void lru_clear(struct lru *lru);

size_t lru_count(const struct lru *lru);
size_t lru_bytes(const struct lru *lru); /* at most limit_bytes, always */

#endif
