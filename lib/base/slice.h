/* A slice is a borrowed run of bytes: text, JSON, wire data. It never owns and is never NUL terminated by contract.
 * Who made the bytes says how long they live (usually: as long as the call's arena). at == NULL means "absent",
 * which is distinct from the empty slice and becomes NULL in SQL. Pure values: safe on any thread. */
#ifndef MYELIN_BASE_SLICE_H
#define MYELIN_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *at;
    size_t len; /* bytes */
};

/* Arrays of values, borrowed like slices. Used for batches: in messages, SQL arrays, pure rules. */
struct slices {
    const struct slice *at;
    size_t len;
};
struct i64s {
    const int64_t *at;
    size_t len;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
#define SLICE_ABSENT ((struct slice){NULL, 0})
/* For printf: printf("%.*s", PRI(slice)) */
#define PRI(s) (int)(s).len, (s).at ? (s).at : ""

static inline struct slice slice_of(const void *at, size_t len)
{
    return (struct slice){at, len};
}

static inline struct slice slice_from_cstr(const char *text)
{
    return text ? (struct slice){text, strlen(text)} : SLICE_ABSENT;
}

static inline bool slice_is_absent(struct slice s)
{
    return s.at == NULL;
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* Byte order, the order of COLLATE "C" and, for UTF-8, of code points. */
static inline int slice_cmp(struct slice a, struct slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.at, b.at, common) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.at, prefix.at, prefix.len) == 0);
}

static inline bool slice_ends_with(struct slice s, struct slice suffix)
{
    return s.len >= suffix.len && (suffix.len == 0 || memcmp(s.at + s.len - suffix.len, suffix.at, suffix.len) == 0);
}

/* The part from `from` (at most len); [from, from + count) clamped to s. */
static inline struct slice slice_sub(struct slice s, size_t from, size_t count)
{
    if (from > s.len)
        from = s.len;
    if (count > s.len - from)
        count = s.len - from;
    return (struct slice){s.at + from, count};
}

/* Splits at the first `mark`: *head before it, *tail after it. False, and both untouched, when there is none. */
bool slice_cut(struct slice s, char mark, struct slice *head, struct slice *tail);
struct slice slice_trim(struct slice s);                     /* without leading and trailing ASCII blanks */
bool slice_eq_ignoring_case(struct slice a, struct slice b); /* ASCII only: header names, server names */
/* Whole decimal number without sign rules relaxed: "-"? [0-9]+, fits int64. False and *out untouched otherwise. */
bool slice_to_i64(struct slice s, int64_t *out);
/* 64-bit non-cryptographic hash (FNV-1a finished with a mixer): the same on every machine, lane keys depend on it. */
uint64_t slice_hash(struct slice s);
/* JSON may carry \u0000 and Matrix permits it, but PostgreSQL text cannot hold it: ask before storing. */
bool slice_has_nul(struct slice s);

#endif
