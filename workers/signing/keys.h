/* The server's signing keys (Server-Server API "Publishing Keys"). Read once from the key file, then constant: any thread. */
#ifndef MYELIN_SIGNING_KEYS_H
#define MYELIN_SIGNING_KEYS_H

#include "lib/base/arena.h"

struct signing_keys;

/* NULL: *error says why, with the line but never with what stood there; it lives in the arena. */
struct signing_keys *signing_keys_load(struct arena *arena, const char *path, const char **error);
void signing_keys_destroy(struct signing_keys **keys);

size_t signing_keys_count(const struct signing_keys *keys); /* at least 1 */
/* 0 is the current key, then others in use, then old ones. What the slices point to lives as long as the keys. */
struct slice signing_key_id(const struct signing_keys *keys, size_t index);     /* "ed25519:auto" */
struct slice signing_key_public(const struct signing_keys *keys, size_t index); /* unpadded base64 */
int64_t signing_key_expired_ts(const struct signing_keys *keys, size_t index);  /* Unix ms; 0: in use */

/* The current key's signature of the bytes as they are, unpadded base64. */
struct slice signing_keys_sign(const struct signing_keys *keys, struct arena *arena, struct slice payload);

#endif
