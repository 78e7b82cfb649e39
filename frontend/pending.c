/* A growing array with a free list. It grows to the largest number of requests that were ever under way at once (16 bytes each)
 * and stays there. */
#include "frontend/pending.h"

#include "lib/base/ensure.h"

#include <stdlib.h>

struct place {
    struct exchange *exchange;
    uint32_t turn, next_free;
};
struct pending {
    struct place *places;
    uint32_t count, capacity, free; /* free: index + 1 of the first free place */
};

struct pending *pending_create(void)
{
    struct pending *pending = calloc(1, sizeof *pending);
    ensure(pending);
    return pending;
}

void pending_destroy(struct pending **pending)
{
    if (*pending)
        free((*pending)->places);
    free(*pending);
    *pending = NULL;
}

static uint32_t new_place(struct pending *pending)
{
    if (pending->count == pending->capacity) {
        pending->capacity = pending->capacity ? 2 * pending->capacity : 64;
        pending->places = realloc(pending->places, pending->capacity * sizeof pending->places[0]);
        ensure(pending->places);
    }
    pending->places[pending->count] = (struct place){.turn = 0};
    return pending->count++;
}

uint64_t pending_add(struct pending *pending, struct exchange *exchange)
{
    uint32_t at = pending->free ? pending->free - 1 : new_place(pending);
    struct place *place = &pending->places[at];
    if (pending->free)
        pending->free = place->next_free;
    place->exchange = exchange;
    return (uint64_t)++place->turn << 32 | at;
}

struct exchange *pending_get(const struct pending *pending, uint64_t correlation)
{
    uint32_t at = (uint32_t)correlation;
    if (at >= pending->count || pending->places[at].turn != correlation >> 32)
        return NULL;
    return pending->places[at].exchange;
}

void pending_remove(struct pending *pending, uint64_t correlation)
{
    struct place *place = &pending->places[(uint32_t)correlation];
    place->exchange = NULL;
    place->next_free = pending->free;
    pending->free = (uint32_t)correlation + 1;
}
