/* A server's signed answer to GET /_matrix/key/v2/server (Server-Server API "Retrieving server keys"): read and checked. Pure. */
#ifndef MYELIN_KEYS_KEY_ANSWER_H
#define MYELIN_KEYS_KEY_ANSWER_H

#include "lib/base/json.h"

enum { KEY_BYTES = 32, KEY_ANSWER_BYTES_MAX = 64 * 1024, KEYS_MAX = 100, KEY_ID_BYTES_MAX = 255 };
/* "Servers MUST use the lesser of this field and 7 days into the future": no answer is believed for longer. */
#define KEY_VALID_MAX_MS (INT64_C(7) * 24 * 3600 * 1000)

struct verify_key {
    struct slice key_id, public_key; /* KEY_BYTES */
    int64_t valid_until_ts;          /* Unix ms, capped; of old keys: their expired_ts */
    bool is_old;                     /* from old_verify_keys: for events before valid_until_ts only */
};
struct key_answer {
    struct slice server;
    const struct verify_key *keys;
    size_t count;
    int64_t valid_until_ts; /* of the answer, capped */
    int64_t fetched_ts;
    struct slice json; /* canonical, with all its signatures: what a notary passes on */
};

/* Of `server` and nobody else, signed by at least one of its verify_keys, and every signature of these right. Keys of algorithms
 * other than ed25519 are left out. False: *why (static) says what is wrong with it. */
bool key_answer_read(struct arena *arena, struct slice text, struct slice server, int64_t now_ms, struct key_answer *out,
                     const char **why);
/* The same for a value that is parsed already (JSON_CANONICAL). */
bool key_answer_check(struct arena *arena, const struct json *value, struct slice server, int64_t now_ms, struct key_answer *out,
                      const char **why);
/* Whether `server` signed this object with the key. */
bool key_signed(struct arena *arena, const struct json *object, struct slice server, struct slice key_id, struct slice public_key);
/* May a signature made at valid_at (Unix ms; 0: any time) be checked with this key? */
bool verify_key_is_good_at(const struct verify_key *key, int64_t valid_at);
const struct verify_key *verify_key_find(const struct verify_key *keys, size_t count, struct slice key_id);
/* A newer answer's keys, then those of the older list that it names no more: events of that time are still checked with them. */
const struct verify_key *verify_keys_merge(struct arena *arena, const struct key_answer *newer, const struct verify_key *older,
                                           size_t older_count, size_t *count);

#endif
