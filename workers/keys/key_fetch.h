/* Getting keys that are not known yet: from the server itself, then from the notaries we trust. */
#ifndef MYELIN_KEYS_KEY_FETCH_H
#define MYELIN_KEYS_KEY_FETCH_H

#include "workers/keys/key_cache.h"

void key_fetch_start(struct worker *worker);
/* May the server be asked now? No while it is backed off after failures, and not soon again after an answer. */
bool key_record_may_ask(const struct key_record *record, int64_t now_ms);
/* Asks all of these servers at once (each only once, whoever else is just asking it in this process) and puts what they or the
 * notaries answered into the cache: look there afterwards. Returns when all have answered, failed or the call's time is up, and at
 * once when too many threads are waiting for others' keys already: what is known must be served in any case. */
enum fetch_for { FETCH_TO_VERIFY, FETCH_TO_VOUCH };
void keys_fetch(struct call *call, enum fetch_for purpose, struct slices servers);

#endif
