/* A hash map from slices to pointers or numbers that is walked in the order of insertion, so that what is computed from it
 * does not depend on hashes. One map holds one kind of value: use either the pointer or the _i64 functions on it.
 * In an arena the map borrows its keys and dies with the arena; on the heap it copies them. Values are never freed.
 * Outgrown tables stay in the arena, up to the size of the last one again. Not thread safe. */
#ifndef MYELIN_BASE_MAP_H
#define MYELIN_BASE_MAP_H

#include "lib/base/arena.h"

struct map;

struct map *map_create(struct arena *arena); /* NULL: on the heap */
void map_destroy(struct map **map);          /* for the heap; in an arena it only clears *map */
size_t map_count(const struct map *map);

/* True when the key is new; else its value is replaced and its place in the order kept. A NULL value is allowed. */
bool map_put(struct map *map, struct slice key, void *value);
bool map_put_i64(struct map *map, struct slice key, int64_t value);
void *map_get(const struct map *map, struct slice key); /* NULL when there is none */
bool map_get_i64(const struct map *map, struct slice key, int64_t *out);
bool map_has(const struct map *map, struct slice key);
bool map_remove(struct map *map, struct slice key); /* false when there is none */

/* for (size_t at = 0; map_next(map, &at, &key, &value);) … Removing the current key on the way is allowed, putting is not.
 * key and value may be NULL. */
bool map_next(const struct map *map, size_t *at, struct slice *key, void **value);
bool map_next_i64(const struct map *map, size_t *at, struct slice *key, int64_t *value);

#endif
