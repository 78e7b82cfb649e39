/* Entries lie in an array in the order of insertion; an open-addressing table of their numbers (plus one; 0 is a free slot)
 * finds them, as in Python's dict. A removed entry stays as a mark in both until the next growth, which leaves it behind. */
#include "lib/base/map.h"

#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/keyed_hash.h"

enum { FIRST_SLOTS = 16 };

union value {
    void *pointer;
    int64_t number;
};

struct entry {
    struct slice key;
    uint64_t hash;
    union value value;
    bool removed;
};

struct map {
    struct arena *arena;
    struct entry *entries;
    uint32_t *slots;
    size_t slot_count; /* a power of two, at most three quarters in use */
    size_t used;       /* entries in the array, removed ones included */
    size_t count;
};

static void *allocate(const struct map *map, size_t count, size_t size)
{
    if (map->arena)
        return arena_alloc_array(map->arena, count, size);
    void *at = calloc(count, size);
    ensure(at != NULL);
    return at;
}

static void release(const struct map *map, void *at)
{
    if (!map->arena)
        free(at);
}

static size_t entry_capacity(const struct map *map)
{
    return map->slot_count / 4 * 3;
}

static void allocate_tables(struct map *map, size_t slot_count)
{
    map->slot_count = slot_count;
    map->slots = allocate(map, slot_count, sizeof *map->slots);
    map->entries = allocate(map, entry_capacity(map), sizeof *map->entries);
}

struct map *map_create(struct arena *arena)
{
    struct map *map = allocate(&(struct map){.arena = arena}, 1, sizeof *map);
    map->arena = arena;
    allocate_tables(map, FIRST_SLOTS);
    return map;
}

void map_destroy(struct map **map)
{
    if (*map && !(*map)->arena) {
        for (size_t i = 0; i < (*map)->used; i++)
            free((void *)(uintptr_t)(*map)->entries[i].key.at);
        free((*map)->entries);
        free((*map)->slots);
        free(*map);
    }
    *map = NULL;
}

size_t map_count(const struct map *map)
{
    return map->count;
}

/* The slot that has the key, or the free slot where the search for it ended. */
static uint32_t *find_slot(const struct map *map, struct slice key, uint64_t hash)
{
    for (size_t i = hash;; i++) {
        uint32_t *slot = &map->slots[i & (map->slot_count - 1)];
        if (!*slot)
            return slot;
        const struct entry *entry = &map->entries[*slot - 1];
        if (entry->hash == hash && !entry->removed && slice_eq(entry->key, key))
            return slot;
    }
}

static struct entry *find(const struct map *map, struct slice key)
{
    uint32_t slot = *find_slot(map, key, slice_hash_keyed(key));
    return slot ? &map->entries[slot - 1] : NULL;
}

/* Room for more: a larger table, or the same size again when most of the old one was removed entries. */
static void rebuild(struct map *map)
{
    struct map old = *map;
    ensure(old.slot_count <= UINT32_MAX / 2);
    allocate_tables(map, old.count > entry_capacity(&old) / 2 ? old.slot_count * 2 : old.slot_count);
    map->used = 0;
    for (size_t i = 0; i < old.used; i++) {
        if (old.entries[i].removed)
            continue;
        map->entries[map->used] = old.entries[i];
        *find_slot(map, old.entries[i].key, old.entries[i].hash) = (uint32_t)++map->used;
    }
    release(map, old.entries);
    release(map, old.slots);
}

static struct slice own_key(const struct map *map, struct slice key)
{
    if (map->arena)
        return key;
    char *copy = allocate(map, 1, key.len + 1);
    if (key.len)
        memcpy(copy, key.at, key.len);
    return slice_of(copy, key.len);
}

static bool put(struct map *map, struct slice key, union value value)
{
    uint64_t hash = slice_hash_keyed(key);
    uint32_t *slot = find_slot(map, key, hash);
    if (*slot) {
        map->entries[*slot - 1].value = value;
        return false;
    }
    if (map->used == entry_capacity(map)) {
        rebuild(map);
        slot = find_slot(map, key, hash);
    }
    map->entries[map->used] = (struct entry){.key = own_key(map, key), .hash = hash, .value = value};
    *slot = (uint32_t)++map->used;
    map->count++;
    return true;
}

bool map_put(struct map *map, struct slice key, void *value)
{
    return put(map, key, (union value){.pointer = value});
}

bool map_put_i64(struct map *map, struct slice key, int64_t value)
{
    return put(map, key, (union value){.number = value});
}

void *map_get(const struct map *map, struct slice key)
{
    const struct entry *entry = find(map, key);
    return entry ? entry->value.pointer : NULL;
}

bool map_get_i64(const struct map *map, struct slice key, int64_t *out)
{
    const struct entry *entry = find(map, key);
    if (!entry)
        return false;
    *out = entry->value.number;
    return true;
}

bool map_has(const struct map *map, struct slice key)
{
    return find(map, key) != NULL;
}

bool map_remove(struct map *map, struct slice key)
{
    struct entry *entry = find(map, key);
    if (!entry)
        return false;
    release(map, (void *)(uintptr_t)entry->key.at);
    entry->key = SLICE_ABSENT;
    entry->removed = true;
    map->count--;
    return true;
}

static const struct entry *next(const struct map *map, size_t *at, struct slice *key)
{
    while (*at < map->used && map->entries[*at].removed)
        ++*at;
    if (*at == map->used)
        return NULL;
    const struct entry *entry = &map->entries[(*at)++];
    if (key)
        *key = entry->key;
    return entry;
}

bool map_next(const struct map *map, size_t *at, struct slice *key, void **value)
{
    const struct entry *entry = next(map, at, key);
    if (entry && value)
        *value = entry->value.pointer;
    return entry != NULL;
}

bool map_next_i64(const struct map *map, size_t *at, struct slice *key, int64_t *value)
{
    const struct entry *entry = next(map, at, key);
    if (entry && value)
        *value = entry->value.number;
    return entry != NULL;
}
