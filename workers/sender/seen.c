/* A set of event numbers with open addressing; see seen.h. Numbers come in blocks, so multiplying spreads them well enough, and
 * nobody outside can choose them. */
#include "workers/sender/seen.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/ensure.h"

enum { FIRST_PLACES = 256 };

struct place {
    int64_t nid, pos; /* nid 0: free */
};
static struct place *places;
static uint64_t place_count, used; /* place_count is a power of two */

static struct place *find(int64_t nid)
{
    uint64_t at = ((uint64_t)nid * UINT64_C(0x9e3779b97f4a7c15)) >> 20;
    while (places[at & (place_count - 1)].nid && places[at & (place_count - 1)].nid != nid)
        at++;
    return &places[at & (place_count - 1)];
}

/* Keeps what is at pos or above, in a table of the fitting size. */
static void rebuild(int64_t pos, uint64_t room_for)
{
    struct place *old = places;
    uint64_t old_count = place_count;
    place_count = FIRST_PLACES;
    while (place_count < room_for * 2)
        place_count *= 2;
    places = calloc(place_count, sizeof *places);
    ensure(places);
    used = 0;
    for (uint64_t i = 0; i < old_count; i++) {
        if (old[i].nid && old[i].pos >= pos) {
            *find(old[i].nid) = old[i];
            used++;
        }
    }
    free(old);
}

bool seen_add(int64_t nid, int64_t pos)
{
    if (used == SEEN_MAX || nid == 0)
        return false;
    if ((used + 1) * 2 > place_count)
        rebuild(INT64_MIN, used + 1);
    struct place *place = find(nid);
    if (place->nid)
        return false;
    *place = (struct place){nid, pos};
    used++;
    return true;
}

bool seen_has(int64_t nid)
{
    return place_count && find(nid)->nid == nid;
}

void seen_forget_below(int64_t pos)
{
    uint64_t left = 0;
    for (uint64_t i = 0; i < place_count; i++)
        left += places[i].nid && places[i].pos >= pos;
    if (left < used)
        rebuild(pos, left + 1);
}
