/* Random JSON documents for the tests, in any spelling that means the same: blanks, escapes, key order. Same seed, same
 * documents. */
#ifndef MYELIN_TEST_JSON_RANDOM_H
#define MYELIN_TEST_JSON_RANDOM_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/json.h"
#include "lib/base/utf8.h"

struct random {
    uint64_t state;
    bool reals; /* fractions and integers beyond 2^53 too */
};

/* From the environment's MYELIN_SEED, else from the clock; printed, so that a failure can be had again. */
static inline struct random random_start(void)
{
    const char *given = getenv("MYELIN_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("MYELIN_SEED=%llu\n", (unsigned long long)seed);
    return (struct random){.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
}

static inline uint32_t random_below(struct random *r, uint32_t limit)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return (uint32_t)(r->state >> 32) % limit;
}

static inline uint32_t random_code_point(struct random *r)
{
    static const uint32_t borders[] = {0,   1,    8,    9,     10,    12,     13,     0x1f,   '"',     '\\',
                                       '/', 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff};
    switch (random_below(r, 8)) {
    case 0:
        return borders[random_below(r, sizeof borders / sizeof borders[0])];
    case 1:
        return random_below(r, 0xd800);
    case 2:
        return 0x10000 + random_below(r, 0x100000);
    default:
        return 'a' + random_below(r, 26);
    }
}

static inline struct slice random_text(struct arena *arena, struct random *r)
{
    uint32_t length = random_below(r, random_below(r, 4) ? 12 : 60);
    char *text = arena_alloc_raw(arena, length * 4 + 1), *end = text;
    for (uint32_t i = 0; i < length; i++)
        end += utf8_put(end, random_code_point(r));
    return slice_of(text, (size_t)(end - text));
}

static inline int64_t random_integer(struct random *r)
{
    static const int64_t borders[] = {0, 1, -1, JSON_INT_MAX, -JSON_INT_MAX, JSON_INT_MAX - 1, 1000000000000};
    if (random_below(r, 3) == 0)
        return borders[random_below(r, sizeof borders / sizeof borders[0])];
    if (r->reals && random_below(r, 4) == 0)
        return (int64_t)((uint64_t)random_below(r, UINT32_MAX) << 32 | random_below(r, UINT32_MAX));
    return (int64_t)random_below(r, 2000000) - 1000000;
}

static inline void random_value(struct json_writer *w, struct random *r, unsigned depth)
{
    struct arena *arena = w->out.arena;
    char number[64];
    switch (random_below(r, depth < 6 ? 10 : 6)) {
    case 0:
        json_add_null(w);
        break;
    case 1:
        json_add_bool(w, random_below(r, 2));
        break;
    case 2:
    case 3:
        json_add_string(w, random_text(arena, r));
        break;
    case 4:
        if (r->reals) {
            snprintf(number, sizeof number, "%d.%ue%d", (int)random_below(r, 2000) - 1000, random_below(r, 100000),
                     (int)random_below(r, 40) - 20);
            json_add_raw(w, arena_copy(arena, slice_from_cstr(number)));
            break;
        } /* falls through */
    case 5:
        json_add_i64(w, random_integer(r));
        break;
    case 6:
    case 7:
        json_begin_array(w);
        for (uint32_t left = random_below(r, 6); left > 0; left--)
            random_value(w, r, depth + 1);
        json_end_array(w);
        break;
    default:
        json_begin_object(w);
        for (uint32_t i = 0, count = random_below(r, random_below(r, 10) ? 8 : 100); i < count; i++) {
            struct slice parts[] = {random_text(arena, r), arena_printf(arena, "#%u", i)}; /* the number makes it unique */
            json_key(w, arena_concat(arena, parts, 2));
            random_value(w, r, depth + 1);
        }
        json_end_object(w);
    }
}

static inline struct slice random_document(struct arena *arena, struct random *r)
{
    struct json_writer w = json_writer_in(arena);
    random_value(&w, r, 0);
    return json_done(&w);
}

static inline void random_blanks(struct strbuf *out, struct random *r)
{
    while (random_below(r, 4) == 0)
        strbuf_add_char(out, " \t\r\n"[random_below(r, 4)]);
}

static inline uint32_t code_point_at(const char *at, size_t length)
{
    static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code_point = (unsigned char)at[0] & lead_bits[length];
    for (size_t i = 1; i < length; i++)
        code_point = code_point << 6 | ((unsigned char)at[i] & 0x3f);
    return code_point;
}

static inline void respell_string(struct strbuf *out, struct slice text, struct random *r)
{
    strbuf_add_char(out, '"');
    for (size_t i = 0, length; i < text.len; i += length) {
        length = utf8_sequence(text.at + i, text.len - i);
        uint32_t c = code_point_at(text.at + i, length);
        if (c >= 0x10000 && random_below(r, 3) == 0) {
            strbuf_printf(out, "\\u%04x\\u%04X", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
        } else if (c < 0x20 || c == '"' || c == '\\' || (c < 0x10000 && random_below(r, 10) == 0)) {
            strbuf_add(out, random_below(r, 2) ? arena_printf(out->arena, "\\u%04x", c) : arena_printf(out->arena, "\\u%04X", c));
        } else if (c == '/' && random_below(r, 2)) {
            strbuf_add_cstr(out, "\\/");
        } else {
            strbuf_add(out, slice_of(text.at + i, length));
        }
    }
    strbuf_add_char(out, '"');
}

/* The same value spelled otherwise: blanks, escapes, members from somewhere in the middle first. */
static inline void respell(struct strbuf *out, const struct json *value, struct random *r)
{
    random_blanks(out, r);
    if (value->type == JSON_STRING) {
        respell_string(out, value->text, r);
    } else if (value->type == JSON_ARRAY || value->type == JSON_OBJECT) {
        bool is_object = value->type == JSON_OBJECT;
        strbuf_add_char(out, is_object ? '{' : '[');
        random_blanks(out, r);
        uint32_t start = is_object && value->count ? random_below(r, value->count) : 0, i = 0;
        const struct json *child = value->first;
        for (; i < start; i++)
            child = child->next;
        for (i = 0; i < value->count; i++, child = child->next ? child->next : value->first) {
            if (i)
                strbuf_add_char(out, ',');
            random_blanks(out, r);
            if (is_object) {
                respell_string(out, child->key, r);
                random_blanks(out, r);
                strbuf_add_char(out, ':');
            }
            respell(out, child, r);
        }
        strbuf_add_char(out, is_object ? '}' : ']');
    } else {
        strbuf_add(out, value->span);
    }
    random_blanks(out, r);
}

#endif
