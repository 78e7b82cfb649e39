/* This server's own keys: what it publishes, and what its own signatures are checked with. */
#ifndef MYELIN_KEYS_OWN_KEYS_H
#define MYELIN_KEYS_OWN_KEYS_H

#include "workers/keys/key_cache.h"

/* Our signed answer, canonical; made anew when half of its life is over or the signer's keys changed. UNAVAILABLE: no signer, and
 * none was made before. */
enum fault own_keys_answer(struct call *call, struct slice *json);
/* The keys in it. Valid as long as the call. */
enum fault own_keys_get(struct call *call, const struct verify_key **keys, size_t *count);
/* The object (canonical JSON) with our signature added to those it has. */
enum fault own_keys_sign(struct call *call, struct slice json, struct slice *out);

#endif
