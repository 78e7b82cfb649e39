/* Eight bytes at a time: finding the byte that ends a plain run of text without looking at each (private to lib/base).
 * The masks mark, in the high bit of a byte, bytes of the kind asked for. A borrow may mark bytes above the first hit
 * wrongly, never below, so only the first mark counts: that is what word_first() gives. */
#ifndef MYELIN_BASE_WORD_H
#define MYELIN_BASE_WORD_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

enum { WORD_BYTES = 8 };
#define WORD_OF(byte) (UINT64_C(0x0101010101010101) * (byte))
#define WORD_HIGH_BITS WORD_OF(0x80)

static inline uint64_t word_load(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return le64toh(word);
}

/* Bytes that end a plain JSON string: quote, backslash, control, not ASCII. */
static inline uint64_t word_not_plain(uint64_t word)
{
    uint64_t quote = word ^ WORD_OF('"'), backslash = word ^ WORD_OF('\\');
    return ((quote - WORD_OF(1)) | (backslash - WORD_OF(1)) | (word - WORD_OF(0x20)) | word) & WORD_HIGH_BITS;
}

/* Bytes that must be escaped in JSON: quote, backslash, control. */
static inline uint64_t word_to_escape(uint64_t word)
{
    uint64_t quote = word ^ WORD_OF('"'), backslash = word ^ WORD_OF('\\');
    return ((quote - WORD_OF(1)) | (backslash - WORD_OF(1)) | (word - WORD_OF(0x20))) & ~word & WORD_HIGH_BITS;
}

static inline unsigned word_first(uint64_t mask)
{
    return (unsigned)__builtin_ctzll(mask) / 8;
}

#endif
