/* Interning (type, state_key) ↔ number, with a bounded cache in front of the table. Any thread. */
#ifndef MYELIN_EVENTS_STATE_KEYS_H
#define MYELIN_EVENTS_STATE_KEYS_H

#include "lib/kit/call.h"

void state_keys_start(size_t cache_bytes);
/* Adds what is missing: for events that are about to be state. */
enum fault state_keys_intern(struct call *call, const struct slice *types, const struct slice *state_keys, size_t count,
                             int64_t *nids);
/* Looks only, for what may be refused: 0 for a pair that no event has had. */
enum fault state_keys_find(struct call *call, const struct slice *types, const struct slice *state_keys, size_t count,
                           int64_t *nids);

#endif
