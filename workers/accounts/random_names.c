/* Random names; see random_names.h. */
#include "workers/accounts/random_names.h"

#include <sodium.h>

#include "lib/base/base64.h"

enum { TOKEN_BYTES = 32, DEVICE_ID_LETTERS = 10, LOCALPART_LETTERS = 14 };

static struct slice random_text(struct arena *arena, struct slice alphabet, size_t len)
{
    char *text = arena_alloc(arena, len + 1);
    for (size_t i = 0; i < len; i++)
        text[i] = alphabet.at[randombytes_uniform((uint32_t)alphabet.len)];
    return slice_of(text, len);
}

struct slice random_token(struct arena *arena, const char *prefix)
{
    unsigned char bytes[TOKEN_BYTES];
    randombytes_buf(bytes, sizeof bytes);
    struct slice token = arena_printf(arena, "%s%.*s", prefix, PRI(base64_encode_url(arena, slice_of(bytes, sizeof bytes))));
    sodium_memzero(bytes, sizeof bytes);
    return token;
}

struct slice random_device_id(struct arena *arena)
{
    return random_text(arena, SLICE("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), DEVICE_ID_LETTERS);
}

struct slice random_localpart(struct arena *arena)
{
    return random_text(arena, SLICE("abcdefghijklmnopqrstuvwxyz0123456789"), LOCALPART_LETTERS);
}

struct slice token_hash(struct arena *arena, struct slice token)
{
    unsigned char *hash = arena_alloc(arena, crypto_hash_sha256_BYTES);
    crypto_hash_sha256(hash, (const unsigned char *)token.at, token.len);
    return slice_of(hash, crypto_hash_sha256_BYTES);
}
