/* JSON as Matrix needs it (DESIGN §7): one strict pass, every value keeps its byte span in the source, so that signed
 * bytes can be spliced into replies without re-encoding. Values borrow from the source text and live in the arena.
 * Rejected: bad UTF-8, lone surrogates, raw controls, leading zeros, trailing text, nesting over JSON_DEPTH_MAX,
 * duplicate keys, numbers that are not finite; with JSON_CANONICAL also fractions, exponents, -0 and integers outside
 * ±(2^53−1) (room version 6 and later; spec appendix "Canonical JSON"). Pure; any thread. */
#ifndef MYELIN_BASE_JSON_H
#define MYELIN_BASE_JSON_H

#include "lib/base/strbuf.h"

enum { JSON_DEPTH_MAX = 100 };
#define JSON_INT_MAX INT64_C(9007199254740991)

enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_REAL, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    bool boolean;       /* JSON_BOOL */
    bool tidy;          /* the span is canonical JSON as it stands, json_canonical copies it: clear it in a node you change */
    uint32_t count;     /* members of an object, elements of an array */
    int64_t integer;    /* JSON_INT: fits int64; JSON_REAL: truncated towards zero when it fits, else 0 */
    double real;        /* JSON_REAL, and JSON_INT converted */
    struct slice text;  /* JSON_STRING: decoded text (borrowed from the source when it has no escapes) */
    struct slice span;  /* the value's bytes in the source */
    struct slice key;   /* decoded key when this is an object's member */
    struct json *first; /* first member or element */
    struct json *next;  /* next sibling */
};

enum json_mode { JSON_LAX, JSON_CANONICAL };

/* NULL when the text is not acceptable; *error (optional) then says why in static storage: "duplicate key", … */
struct json *json_parse(struct arena *arena, struct slice text, enum json_mode mode, const char **error);

/* Look-ups. All accept NULL and a value of the wrong type, and then find nothing: chains need no checks between. */
const struct json *json_get(const struct json *object, struct slice key);
const struct json *json_get_cstr(const struct json *object, const char *key);
const struct json *json_path(const struct json *object, const char *dotted); /* "content.membership": no dots inside keys */
struct slice json_string(const struct json *value);                          /* absent unless it is a string */
struct slice json_get_string(const struct json *object, const char *key);
bool json_get_i64(const struct json *object, const char *key, int64_t *out); /* JSON_INT only; else false, *out untouched */
bool json_get_bool(const struct json *object, const char *key, bool otherwise);
const struct json *json_get_object(const struct json *object, const char *key); /* NULL unless an object */
const struct json *json_get_array(const struct json *object, const char *key);
static inline bool json_is(const struct json *value, enum json_type type) /* false for NULL */
{
    return value && value->type == type;
}
#define json_each(item, container) for (const struct json *item = (container) ? (container)->first : NULL; item; item = item->next)

/* Canonical JSON: keys sorted by code point, shortest form, no blanks. `value` must have been parsed JSON_CANONICAL
 * (for room versions 1 to 5, floats are written as they stand in the source; whole ones with an exponent as integers, as the
 * appendix's 1e10 shows). `without` names top-level keys to leave out
 * ("signatures", "unsigned"); NULL-terminated list or NULL. */
struct slice json_canonical(struct arena *arena, const struct json *value, const char *const *without);
void json_canonical_into(struct strbuf *out, const struct json *value, const char *const *without);

/* Writing. The writer puts commas; raw values are spliced as they are. Balanced use is asserted at json_done. */
struct json_writer {
    struct strbuf out;
    uint8_t depth;
    bool comma[JSON_DEPTH_MAX + 1];
    bool after_key;
};
struct json_writer json_writer_in(struct arena *arena);
void json_begin_object(struct json_writer *w);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w);
void json_end_array(struct json_writer *w);
void json_key(struct json_writer *w, struct slice key);
void json_key_cstr(struct json_writer *w, const char *key);
void json_add_string(struct json_writer *w, struct slice text); /* must be UTF-8; escapes as canonical JSON wants */
void json_add_i64(struct json_writer *w, int64_t number);
void json_add_bool(struct json_writer *w, bool value);
void json_add_null(struct json_writer *w);
void json_add_raw(struct json_writer *w, struct slice raw);
void json_add_value(struct json_writer *w, const struct json *value); /* its span, spliced */
/* Members in one line: json_put_string(w, "room_id", id). Absent strings and raws are left out. */
void json_put_string(struct json_writer *w, const char *key, struct slice text);
void json_put_cstr(struct json_writer *w, const char *key, const char *text);
void json_put_i64(struct json_writer *w, const char *key, int64_t number);
void json_put_bool(struct json_writer *w, const char *key, bool value);
void json_put_raw(struct json_writer *w, const char *key, struct slice raw);
void json_put_object(struct json_writer *w, const char *key); /* opens it */
void json_put_array(struct json_writer *w, const char *key);  /* opens it */
struct slice json_done(struct json_writer *w);                /* the text; everything must be closed */

/* Quotes and escapes `text` into out, as canonical JSON wants it. */
void json_escape_into(struct strbuf *out, struct slice text);
bool utf8_is_valid(struct slice text);

#endif
