/* The members of an object in the order of their keys' code points (private to lib/base): canonical JSON needs it, and the
 * parser finds duplicate keys as equal neighbours. A merge sort, so nobody can choose keys that make it slow, as they
 * could with a hash table. */
#ifndef MYELIN_BASE_JSON_ORDER_H
#define MYELIN_BASE_JSON_ORDER_H

#include "lib/base/json.h"

struct json_ordered {
    uint64_t prefix; /* the key's first eight bytes, as a number that compares as they do */
    const struct json *member;
};

/* object->count entries, in the arena. */
struct json_ordered *json_order(struct arena *arena, const struct json *object);

#endif
