/* SipHash-1-3, as Rust's and Python's tables use it: a keyed hash that is short, fast for short keys and has no known way
 * of making collisions without the key. */
#include "lib/base/keyed_hash.h"

#include <pthread.h>
#include <sys/random.h>

#include "lib/base/ensure.h"
#include "lib/base/word.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t secret[2];

static void make_secret(void)
{
    ensure(getrandom(secret, sizeof secret, 0) == (ssize_t)sizeof secret);
}

static inline uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void mix(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

uint64_t slice_hash_keyed(struct slice s)
{
    pthread_once(&once, make_secret);
    uint64_t v[4] = {secret[0] ^ UINT64_C(0x736f6d6570736575), secret[1] ^ UINT64_C(0x646f72616e646f6d),
                     secret[0] ^ UINT64_C(0x6c7967656e657261), secret[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word, last = (uint64_t)s.len << 56;
    size_t whole = s.len / WORD_BYTES * WORD_BYTES;
    for (size_t i = 0; i < whole; i += WORD_BYTES) {
        word = word_load(s.at + i);
        v[3] ^= word;
        mix(v);
        v[0] ^= word;
    }
    for (size_t i = whole; i < s.len; i++)
        last |= (uint64_t)(unsigned char)s.at[i] << (8 * (i - whole));
    v[3] ^= last;
    mix(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int round = 0; round < 3; round++)
        mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
