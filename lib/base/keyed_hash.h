/* The hash for tables in memory: keyed with a secret of the process, so that nobody can send keys that collide. Differs from
 * run to run; for what must agree between machines there is slice_hash(). Any thread. */
#ifndef MYELIN_BASE_KEYED_HASH_H
#define MYELIN_BASE_KEYED_HASH_H

#include "lib/base/slice.h"

uint64_t slice_hash_keyed(struct slice s);

#endif
