/* The slice operations that are too long to be inlined. All are pure; none allocates. */
#include "lib/base/slice.h"

bool slice_cut(struct slice s, char mark, struct slice *head, struct slice *tail)
{
    const char *at = s.len ? memchr(s.at, mark, s.len) : NULL;
    if (!at)
        return false;
    size_t before = (size_t)(at - s.at);
    *head = slice_of(s.at, before);
    *tail = slice_of(at + 1, s.len - before - 1);
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct slice slice_trim(struct slice s)
{
    while (s.len && is_blank(s.at[0])) {
        s.at++;
        s.len--;
    }
    while (s.len && is_blank(s.at[s.len - 1]))
        s.len--;
    return s;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool slice_eq_ignoring_case(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

bool slice_to_i64(struct slice s, int64_t *out)
{
    bool negative = s.len && s.at[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == s.len)
        return false;
    /* Counted downwards, because INT64_MIN has no positive twin. */
    int64_t number = 0;
    for (; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_sub_overflow(number, s.at[i] - '0', &number))
            return false;
    }
    if (!negative && __builtin_sub_overflow((int64_t)0, number, &number))
        return false;
    *out = number;
    return true;
}

uint64_t slice_hash(struct slice s)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < s.len; i++) {
        hash ^= (unsigned char)s.at[i];
        hash *= UINT64_C(0x100000001b3);
    }
    /* FNV's high bits are weak for short keys; MurmurHash3's finisher spreads them. */
    hash ^= hash >> 33;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 33;
    hash *= UINT64_C(0xc4ceb9fe1a85ec53);
    hash ^= hash >> 33;
    return hash;
}

bool slice_has_nul(struct slice s)
{
    return s.len && memchr(s.at, '\0', s.len);
}
