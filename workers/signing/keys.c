/* The key file, line by line: see README.md for its form. Seeds go from the file to read-only locked memory without a stop in the
 * heap or an arena: the file is read into sodium_malloc memory, decoded there, and its text is wiped. */
#include "workers/signing/keys.h"

#include "lib/base/base64.h"
#include "lib/base/ensure.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEYS_MAX = 64, FILE_MAX_BYTES = 64 * 1024, WORDS_MAX = 6, KEY_ID_MAX = 128, PUBLIC_TEXT_MAX = 48, KEY_TEXT_LEN = 43 };

struct signing_key {
    char key_id[KEY_ID_MAX], public_key[PUBLIC_TEXT_MAX];
    int64_t expired_ts;
};

struct signing_keys {
    size_t count;
    struct signing_key at[KEYS_MAX];
    unsigned char (*secrets)[crypto_sign_SECRETKEYBYTES]; /* of those in use; sodium_malloc, read-only after loading */
};

/* ---- the file */

static struct slice read_file(struct arena *arena, const char *path, const char **error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (file < 0 || fstat(file, &facts) != 0) {
        *error = arena_printf(arena, "%s: %s", path, strerror(errno)).at;
        if (file >= 0)
            close(file);
        return SLICE_ABSENT;
    }
    char *text = sodium_malloc(FILE_MAX_BYTES + 1);
    ensure(text);
    size_t len = 0;
    ssize_t got = 0;
    while (len <= FILE_MAX_BYTES && (got = read(file, text + len, FILE_MAX_BYTES + 1 - len)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        len += (size_t)got;
    }
    int failure = got < 0 ? errno : 0;
    close(file);
    if (!failure && len <= FILE_MAX_BYTES)
        return slice_of(text, len);
    *error = arena_printf(arena, "%s: %s", path, failure ? strerror(failure) : "too large for a key file").at;
    sodium_free(text);
    return SLICE_ABSENT;
}

static size_t split_words(struct slice line, struct slice words[WORDS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < line.len && count < WORDS_MAX;) {
        size_t start = i;
        while (i < line.len && line.at[i] != ' ' && line.at[i] != '\t' && line.at[i] != '\r')
            i++;
        if (i > start)
            words[count++] = slice_sub(line, start, i - start);
        else
            i++;
    }
    return count;
}

/* The grammar has letters, digits and "_" only; older servers made keys with more, and their signatures must stay checkable. */
static bool version_is_valid(struct slice version)
{
    for (size_t i = 0; i < version.len; i++) {
        char c = version.at[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !strchr("_.+/-", c))
            return false;
    }
    return version.len && version.len + sizeof "ed25519:" <= KEY_ID_MAX;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Exactly 32 bytes. Padding is tolerated, and bits that are left over need not be zero: the spec's own example key has some, which
 * libsodium's decoder refuses. The base library's decoder would leave the seed in an arena. */
static bool decode_key(struct slice text, unsigned char *out)
{
    unsigned bits = 0, count = 0;
    size_t len = 0;
    while (text.len && text.at[text.len - 1] == '=')
        text.len--;
    if (text.len != KEY_TEXT_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64_value(text.at[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (unsigned)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[len++] = (unsigned char)(bits >> count);
        }
    }
    return len == crypto_sign_SEEDBYTES;
}

static bool expiry_parse(struct slice word, int64_t *out)
{
    const struct slice name = SLICE("expired_ts=");
    return slice_starts_with(word, name) && slice_to_i64(slice_sub(word, name.len, word.len), out) && *out > 0;
}

/* NULL, or what is wrong with the line. seed: 32 bytes of scratch that are wiped with the file's text. */
static const char *key_parse(struct slice line, unsigned char *seed, struct signing_key *key, unsigned char *secret)
{
    struct slice words[WORDS_MAX];
    size_t count = split_words(line, words);
    unsigned char public_key[crypto_sign_PUBLICKEYBYTES];
    *key = (struct signing_key){.expired_ts = 0};
    if (count < 3 || count == WORDS_MAX || !slice_eq(words[0], SLICE("ed25519")))
        return "is not `ed25519 <version> <seed>`";
    if (!version_is_valid(words[1]))
        return "has a version with characters that key ids do not have";
    if (count > 3 && !expiry_parse(words[3], &key->expired_ts))
        return "has an expiry that is not expired_ts=<Unix milliseconds>";
    if (count > 4 && !slice_eq(words[4], SLICE("public")))
        return "ends with something else than `public`";
    if (!decode_key(words[2], seed))
        return "does not have 32 bytes in base64";
    if (count > 4)
        memcpy(public_key, seed, sizeof public_key);
    else
        crypto_sign_seed_keypair(public_key, secret, seed);
    snprintf(key->key_id, sizeof key->key_id, "ed25519:%.*s", PRI(words[1]));
    sodium_bin2base64(key->public_key, sizeof key->public_key, public_key, sizeof public_key,
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    return NULL;
}

static bool has_key_id(const struct signing_keys *keys, const char *key_id)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->at[i].key_id, key_id) == 0)
            return true;
    }
    return false;
}

/* NULL, or what is wrong. *line_number: with which line; 0: with the whole. Keys in use come before old ones, whatever the file's
 * order; among equals it is kept. */
static const char *parse_file(struct slice text, unsigned char *seed, struct signing_keys *keys, int *line_number)
{
    struct signing_key old[KEYS_MAX], key;
    size_t old_count = 0;
    struct slice line;
    for (*line_number = 1; text.len; ++*line_number) {
        if (!slice_cut(text, '\n', &line, &text)) {
            line = text;
            text = SLICE("");
        }
        line = slice_trim(line);
        if (!line.len || line.at[0] == '#')
            continue;
        if (keys->count + old_count == KEYS_MAX)
            return "is one key too many";
        const char *wrong = key_parse(line, seed, &key, keys->secrets[keys->count]);
        if (wrong)
            return wrong;
        if (has_key_id(keys, key.key_id))
            return "has the version of an earlier line";
        if (key.expired_ts)
            old[old_count++] = key; /* its secret is overwritten or wiped: it never signs again */
        else
            keys->at[keys->count++] = key;
    }
    sodium_memzero(keys->secrets[keys->count], crypto_sign_SECRETKEYBYTES);
    *line_number = 0;
    if (!keys->count)
        return "holds no key that is in use";
    for (size_t i = 0; i < old_count; i++) {
        if (has_key_id(keys, old[i].key_id))
            return "has the same version twice, once expired";
        keys->at[keys->count++] = old[i];
    }
    return NULL;
}

/* ---- what others use */

struct signing_keys *signing_keys_load(struct arena *arena, const char *path, const char **error)
{
    ensure(sodium_init() >= 0);
    struct slice text = read_file(arena, path, error);
    if (slice_is_absent(text))
        return NULL;
    struct signing_keys *keys = calloc(1, sizeof *keys);
    unsigned char *seed = sodium_malloc(crypto_sign_SEEDBYTES);
    ensure(keys && seed);
    keys->secrets = sodium_allocarray(KEYS_MAX + 1, crypto_sign_SECRETKEYBYTES);
    ensure(keys->secrets);
    int line_number;
    const char *wrong = parse_file(text, seed, keys, &line_number);
    sodium_free(seed);
    sodium_free((void *)(uintptr_t)text.at);
    if (wrong) {
        signing_keys_destroy(&keys);
        *error = line_number ? arena_printf(arena, "%s:%d %s", path, line_number, wrong).at
                             : arena_printf(arena, "%s %s", path, wrong).at;
        return NULL;
    }
    sodium_mprotect_readonly(keys->secrets);
    return keys;
}

void signing_keys_destroy(struct signing_keys **keys)
{
    if (!*keys)
        return;
    sodium_free((*keys)->secrets); /* wipes */
    free(*keys);
    *keys = NULL;
}

size_t signing_keys_count(const struct signing_keys *keys)
{
    return keys->count;
}

struct slice signing_key_id(const struct signing_keys *keys, size_t index)
{
    return slice_from_cstr(keys->at[index].key_id);
}

struct slice signing_key_public(const struct signing_keys *keys, size_t index)
{
    return slice_from_cstr(keys->at[index].public_key);
}

int64_t signing_key_expired_ts(const struct signing_keys *keys, size_t index)
{
    return keys->at[index].expired_ts;
}

struct slice signing_keys_sign(const struct signing_keys *keys, struct arena *arena, struct slice payload)
{
    unsigned char signature[crypto_sign_BYTES];
    crypto_sign_detached(signature, NULL, (const unsigned char *)payload.at, payload.len, keys->secrets[0]);
    return base64_encode(arena, slice_of(signature, sizeof signature));
}
