/* Keys as others get them: the object as uploaded, with signatures that were added later and what is not signed. Pure. */
#ifndef MYELIN_ACCOUNTS_KEY_MERGE_H
#define MYELIN_ACCOUNTS_KEY_MERGE_H

#include "lib/base/json.h"

struct key_signature {
    struct slice signer, key_id, signature;
    struct key_signature *next;
};
/* keys: a JSON object; absent when it is none. display_name: absent leaves `unsigned` as it is. */
struct slice key_merge(struct arena *arena, struct slice keys, const struct key_signature *added, struct slice display_name);
/* What is signed: canonical, without signatures and unsigned. */
struct slice key_signed_bytes(struct arena *arena, const struct json *key);
/* Is the object signed by signer with this ed25519 key (base64) under "ed25519:<key_name>"? */
bool key_is_signed_by(struct arena *arena, const struct json *key, struct slice signer, struct slice key_name,
                      struct slice public_key);
/* The one key of a cross-signing key object, base64: absent when its shape is wrong. */
struct slice cross_signing_public_key(const struct json *key);

#endif
