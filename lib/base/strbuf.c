/* See strbuf.h. Growth doubles, and is free of copying as long as nothing else was taken from the arena in between. */
#include "lib/base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/base/ensure.h"

enum { FIRST_CAPACITY = 128 };

struct strbuf strbuf_in(struct arena *arena)
{
    return (struct strbuf){.arena = arena};
}

void strbuf_reserve(struct strbuf *buffer, size_t more)
{
    if (more <= buffer->capacity - buffer->len)
        return;
    size_t wanted;
    if (__builtin_add_overflow(buffer->len, more, &wanted))
        wanted = SIZE_MAX; /* the arena turns it down */
    size_t doubled = buffer->capacity < SIZE_MAX / 2 ? buffer->capacity * 2 : SIZE_MAX;
    size_t capacity = buffer->capacity ? doubled : FIRST_CAPACITY;
    if (capacity < wanted)
        capacity = wanted;
    buffer->at = arena_grow(buffer->arena, buffer->at, buffer->capacity, capacity);
    buffer->capacity = capacity;
}

void strbuf_add(struct strbuf *buffer, struct slice bytes)
{
    if (!bytes.len)
        return;
    strbuf_reserve(buffer, bytes.len);
    memcpy(buffer->at + buffer->len, bytes.at, bytes.len);
    buffer->len += bytes.len;
}

void strbuf_add_cstr(struct strbuf *buffer, const char *text)
{
    strbuf_add(buffer, slice_from_cstr(text));
}

void strbuf_add_char(struct strbuf *buffer, char c)
{
    strbuf_reserve(buffer, 1);
    buffer->at[buffer->len++] = c;
}

void strbuf_add_i64(struct strbuf *buffer, int64_t number)
{
    char digits[20], *first = digits + sizeof digits; /* written from the right */
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do
        *--first = (char)('0' + left % 10);
    while (left /= 10);
    if (number < 0)
        *--first = '-';
    strbuf_add(buffer, slice_of(first, (size_t)(digits + sizeof digits - first)));
}

void strbuf_printf(struct strbuf *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t room = buffer->capacity - buffer->len;
    int length = vsnprintf(room ? buffer->at + buffer->len : NULL, room, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length >= room) {
        strbuf_reserve(buffer, (size_t)length + 1); /* vsnprintf ends with a NUL that we do not count */
        vsnprintf(buffer->at + buffer->len, (size_t)length + 1, format, again);
    }
    va_end(again);
    ensure(length >= 0);
    buffer->len += (size_t)length;
}

struct slice strbuf_slice(const struct strbuf *buffer)
{
    return buffer->at ? slice_of(buffer->at, buffer->len) : SLICE(""); /* empty, not absent */
}
