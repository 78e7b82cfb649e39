/* Local events that hints told of and the next look into the database will find: a set of numbers, bounded. Guarded by the
 * destinations' lock. */
#ifndef MYELIN_SENDER_SEEN_H
#define MYELIN_SENDER_SEEN_H

#include <stdbool.h>
#include <stdint.h>

enum { SEEN_MAX = 65536 };

bool seen_add(int64_t nid, int64_t pos); /* false: full; or it is in already */
bool seen_has(int64_t nid);
void seen_forget_below(int64_t pos);

#endif
