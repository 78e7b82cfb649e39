/* Password hashes; see password.h. Ours are argon2id strings of libsodium. Imported ones are bcrypt as Synapse makes it: of the
 * NFKC form, cut to 72 bytes. We take the NFKC form too, so that a password typed on another keyboard still fits. */
#include "workers/accounts/password.h"

#include <crypt.h>
#include <errno.h>
#include <semaphore.h>
#include <sodium.h>
#include <stdlib.h>
#include <uninorm.h>

#include "lib/base/ensure.h"

enum { AT_ONCE = 2, BCRYPT_BYTES_MAX = 72, BCRYPT_HASH_BYTES = 60 };

static sem_t places;
static unsigned long long cost_passes;
static size_t cost_memory;
static char nobodys_hash[crypto_pwhash_STRBYTES];

static void place_take(void)
{
    while (sem_wait(&places) != 0)
        ensure(errno == EINTR);
}

void passwords_start(bool cheap)
{
    ensure(sodium_init() >= 0);
    ensure(sem_init(&places, 0, AT_ONCE) == 0);
    cost_passes = cheap ? crypto_pwhash_argon2id_OPSLIMIT_MIN : crypto_pwhash_argon2id_OPSLIMIT_INTERACTIVE;
    cost_memory = cheap ? crypto_pwhash_argon2id_MEMLIMIT_MIN : crypto_pwhash_argon2id_MEMLIMIT_INTERACTIVE;
    ensure(crypto_pwhash_str_alg(nobodys_hash, "", 0, cost_passes, cost_memory, crypto_pwhash_ALG_ARGON2ID13) == 0);
}

bool password_is_acceptable(struct slice password)
{
    return password.len > 0 && password.len <= PASSWORD_BYTES_MAX && !slice_has_nul(password);
}

/* The NFKC form, NUL terminated. What is not text stays as it is. */
static struct slice normal_form(struct arena *arena, struct slice password)
{
    size_t len = 0;
    uint8_t *form = u8_normalize(UNINORM_NFKC, (const uint8_t *)password.at, password.len, NULL, &len);
    struct slice normal = arena_copy(arena, form ? slice_of(form, len) : password);
    if (form)
        sodium_memzero(form, len);
    free(form);
    return normal;
}

struct slice password_hash(struct arena *arena, struct slice password)
{
    char *hash = arena_alloc(arena, crypto_pwhash_STRBYTES);
    struct slice normal = normal_form(arena, password);
    place_take();
    /* Fails only when there is no memory: then the process has none, and ends (STYLE §4). */
    int failed = crypto_pwhash_str_alg(hash, normal.at, normal.len, cost_passes, cost_memory, crypto_pwhash_ALG_ARGON2ID13);
    sem_post(&places);
    ensure(failed == 0);
    return slice_from_cstr(hash);
}

static bool is_bcrypt(struct slice stored)
{
    return slice_starts_with(stored, SLICE("$2a$")) || slice_starts_with(stored, SLICE("$2b$")) ||
           slice_starts_with(stored, SLICE("$2y$"));
}

static bool bcrypt_matches(struct arena *arena, struct slice normal, struct slice stored)
{
    char *setting = arena_cstr(arena, stored), *cut = arena_cstr(arena, slice_sub(normal, 0, BCRYPT_BYTES_MAX));
    struct crypt_data *data = arena_new(arena, struct crypt_data); /* 32 KiB */
    place_take();
    const char *hash = crypt_r(cut, setting, data);
    sem_post(&places);
    return hash && stored.len == BCRYPT_HASH_BYTES && strlen(hash) == BCRYPT_HASH_BYTES &&
           sodium_memcmp(hash, stored.at, BCRYPT_HASH_BYTES) == 0;
}

static bool argon2_matches(struct slice normal, const char *stored)
{
    place_take();
    bool matches = crypto_pwhash_str_verify(stored, normal.at, normal.len) == 0;
    sem_post(&places);
    return matches;
}

enum password_verdict password_check(struct arena *arena, struct slice password, struct slice stored)
{
    if (!password_is_acceptable(password))
        return PASSWORD_WRONG;
    struct slice normal = normal_form(arena, password);
    if (slice_is_absent(stored)) {
        argon2_matches(normal, nobodys_hash);
        return PASSWORD_WRONG;
    }
    if (is_bcrypt(stored))
        return bcrypt_matches(arena, normal, stored) ? PASSWORD_RIGHT_OUTDATED : PASSWORD_WRONG;
    const char *text = arena_cstr(arena, stored);
    if (stored.len >= crypto_pwhash_STRBYTES || !argon2_matches(normal, text))
        return PASSWORD_WRONG;
    return crypto_pwhash_str_needs_rehash(text, cost_passes, cost_memory) ? PASSWORD_RIGHT_OUTDATED : PASSWORD_RIGHT;
}
