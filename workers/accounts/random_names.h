/* What we choose at random: tokens, device ids, names of guests, nonces. libsodium's generator; any thread. */
#ifndef MYELIN_ACCOUNTS_RANDOM_NAMES_H
#define MYELIN_ACCOUNTS_RANDOM_NAMES_H

#include "lib/base/arena.h"

struct slice random_token(struct arena *arena, const char *prefix); /* 32 random bytes, URL-safe */
struct slice random_device_id(struct arena *arena);                 /* ten capital letters */
struct slice random_localpart(struct arena *arena);
struct slice token_hash(struct arena *arena, struct slice token); /* SHA-256: all that is stored of it */

#endif
