/* A growing byte buffer in an arena: building JSON, SQL array images, HTTP bodies. Old blocks stay in the arena until
 * it is reset, so a buffer costs up to twice its size; reserve when the size is known. */
#ifndef MYELIN_BASE_STRBUF_H
#define MYELIN_BASE_STRBUF_H

#include "lib/base/arena.h"

struct strbuf {
    struct arena *arena;
    char *at;
    size_t len, capacity;
};

struct strbuf strbuf_in(struct arena *arena);
void strbuf_reserve(struct strbuf *buffer, size_t more);
void strbuf_add(struct strbuf *buffer, struct slice bytes);
void strbuf_add_cstr(struct strbuf *buffer, const char *text);
void strbuf_add_char(struct strbuf *buffer, char c);
void strbuf_add_i64(struct strbuf *buffer, int64_t number);
void strbuf_printf(struct strbuf *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct slice strbuf_slice(const struct strbuf *buffer); /* valid until the next add */

#endif
