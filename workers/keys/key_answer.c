/* Reading a server's signed keys; see key_answer.h. */
#include "workers/keys/key_answer.h"

#include "lib/base/base64.h"
#include "lib/matrix/ed25519.h"
#include "lib/matrix/event.h"

static const char *const unsigned_parts[] = {"signatures", "unsigned", NULL};

bool key_signed(struct arena *arena, const struct json *object, struct slice server, struct slice key_id, struct slice public_key)
{
    struct slice signature = json_signature(object, server, key_id);
    return !slice_is_absent(signature) &&
           ed25519_verify(public_key, base64_decode(arena, signature), json_canonical(arena, object, unsigned_parts));
}

/* "ed25519:" and a version of [a-zA-Z0-9_]. Servers in the wild also use - and other plain characters, and are believed. */
static bool key_id_is_usable(struct slice key_id)
{
    if (!slice_starts_with(key_id, SLICE("ed25519:")) || key_id.len > KEY_ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < key_id.len; i++) {
        if (key_id.at[i] <= ' ' || key_id.at[i] > '~')
            return false;
    }
    return true;
}

/* False: malformed. Keys of other algorithms are passed over. */
static bool add_keys(struct arena *arena, const struct json *object, bool is_old, int64_t valid_until_ts, struct verify_key *keys,
                     size_t *count)
{
    json_each (entry, object) {
        struct verify_key key = {.key_id = entry->key, .valid_until_ts = valid_until_ts, .is_old = is_old};
        if (!key_id_is_usable(entry->key))
            continue;
        struct slice text = json_get_string(entry, "key");
        key.public_key = slice_is_absent(text) ? SLICE_ABSENT : base64_decode(arena, text);
        if (key.public_key.len != KEY_BYTES || (is_old && !json_get_i64(entry, "expired_ts", &key.valid_until_ts)))
            return false;
        if (*count == KEYS_MAX)
            return false;
        if (!verify_key_find(keys, *count, key.key_id)) /* one that is in both lists is in use */
            keys[(*count)++] = key;
    }
    return true;
}

/* "signed using the verify_keys": each signature by one of them must be right, and there must be one. */
static bool is_self_signed(struct arena *arena, const struct json *value, const struct key_answer *answer)
{
    struct slices key_ids = json_signature_key_ids(arena, value, answer->server);
    size_t good = 0;
    for (size_t i = 0; i < key_ids.len; i++) {
        const struct verify_key *key = verify_key_find(answer->keys, answer->count, key_ids.at[i]);
        if (!key || key->is_old)
            continue;
        if (!key_signed(arena, value, answer->server, key->key_id, key->public_key))
            return false;
        good++;
    }
    return good > 0;
}

bool key_answer_check(struct arena *arena, const struct json *value, struct slice server, int64_t now_ms, struct key_answer *out,
                      const char **why)
{
    struct key_answer answer = {.server = server, .fetched_ts = now_ms};
    struct verify_key *keys = arena_new_array(arena, KEYS_MAX, struct verify_key);
    answer.keys = keys;
    const struct json *old = json_get_cstr(value, "old_verify_keys");
    *why = NULL;
    if (!slice_eq(json_get_string(value, "server_name"), server))
        *why = "another server's keys";
    else if (!json_get_i64(value, "valid_until_ts", &answer.valid_until_ts))
        *why = "no valid_until_ts";
    else if (!json_get_object(value, "verify_keys") || (old && old->type != JSON_OBJECT))
        *why = "no verify_keys";
    if (*why)
        return false;
    if (answer.valid_until_ts > now_ms + KEY_VALID_MAX_MS)
        answer.valid_until_ts = now_ms + KEY_VALID_MAX_MS;
    if (!add_keys(arena, json_get_object(value, "verify_keys"), false, answer.valid_until_ts, keys, &answer.count) ||
        !add_keys(arena, old, true, 0, keys, &answer.count)) {
        *why = "malformed or too many keys";
        return false;
    }
    if (!is_self_signed(arena, value, &answer)) {
        *why = "not signed by the keys it names";
        return false;
    }
    answer.json = json_canonical(arena, value, NULL);
    *out = answer;
    return true;
}

bool key_answer_read(struct arena *arena, struct slice text, struct slice server, int64_t now_ms, struct key_answer *out,
                     const char **why)
{
    if (text.len > KEY_ANSWER_BYTES_MAX) {
        *why = "oversize";
        return false;
    }
    *why = NULL;
    const struct json *value = json_parse(arena, text, JSON_CANONICAL, why);
    if (!json_is(value, JSON_OBJECT)) {
        *why = *why ? *why : "not an object";
        return false;
    }
    return key_answer_check(arena, value, server, now_ms, out, why);
}

bool verify_key_is_good_at(const struct verify_key *key, int64_t valid_at)
{
    return valid_at == 0 || (key->is_old ? valid_at < key->valid_until_ts : valid_at <= key->valid_until_ts);
}

const struct verify_key *verify_key_find(const struct verify_key *keys, size_t count, struct slice key_id)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(keys[i].key_id, key_id))
            return &keys[i];
    }
    return NULL;
}

const struct verify_key *verify_keys_merge(struct arena *arena, const struct key_answer *newer, const struct verify_key *older,
                                           size_t older_count, size_t *count)
{
    struct verify_key *keys = arena_new_array(arena, newer->count + older_count, struct verify_key);
    size_t total = newer->count;
    if (total)
        memcpy(keys, newer->keys, total * sizeof *keys);
    for (size_t i = 0; i < older_count && total < (size_t)2 * KEYS_MAX; i++) {
        if (!verify_key_find(newer->keys, newer->count, older[i].key_id))
            keys[total++] = older[i];
    }
    *count = total;
    return keys;
}
