/* Canonical JSON written the plainest way, as a model for the tests: every character looked at, smallest key searched again
 * for each member, no copying of spans. Reals as %.17g, which all three libraries' doubles can be compared by. */
#ifndef MYELIN_TEST_JSON_NAIVE_H
#define MYELIN_TEST_JSON_NAIVE_H

#include "lib/base/json.h"

static inline void naive_string(struct strbuf *out, struct slice text)
{
    strbuf_add_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        switch (c) {
        case '"':
        case '\\':
            strbuf_printf(out, "\\%c", c);
            break;
        case '\b':
            strbuf_add_cstr(out, "\\b");
            break;
        case '\t':
            strbuf_add_cstr(out, "\\t");
            break;
        case '\n':
            strbuf_add_cstr(out, "\\n");
            break;
        case '\f':
            strbuf_add_cstr(out, "\\f");
            break;
        case '\r':
            strbuf_add_cstr(out, "\\r");
            break;
        default:
            if (c < 0x20)
                strbuf_printf(out, "\\u%04x", c);
            else
                strbuf_add_char(out, (char)c);
        }
    }
    strbuf_add_char(out, '"');
}

static inline void naive_canonical(struct strbuf *out, const struct json *value);

/* The member with the smallest key greater than *above; above == NULL: of all. */
static inline const struct json *naive_next(const struct json *object, const struct slice *above)
{
    const struct json *best = NULL;
    json_each (member, object) {
        bool is_candidate = !above || slice_cmp(member->key, *above) > 0;
        if (is_candidate && (!best || slice_cmp(member->key, best->key) < 0))
            best = member;
    }
    return best;
}

static inline void naive_object(struct strbuf *out, const struct json *object)
{
    strbuf_add_char(out, '{');
    const struct json *member = naive_next(object, NULL);
    while (member) {
        naive_string(out, member->key);
        strbuf_add_char(out, ':');
        naive_canonical(out, member);
        member = naive_next(object, &member->key);
        if (member)
            strbuf_add_char(out, ',');
    }
    strbuf_add_char(out, '}');
}

static inline void naive_canonical(struct strbuf *out, const struct json *value)
{
    switch (value->type) {
    case JSON_NULL:
        strbuf_add_cstr(out, "null");
        break;
    case JSON_BOOL:
        strbuf_add_cstr(out, value->boolean ? "true" : "false");
        break;
    case JSON_INT:
        strbuf_printf(out, "%lld", (long long)value->integer);
        break;
    case JSON_REAL:
        strbuf_printf(out, "%.17g", value->real);
        break;
    case JSON_STRING:
        naive_string(out, value->text);
        break;
    case JSON_ARRAY:
        strbuf_add_char(out, '[');
        json_each (element, value) {
            naive_canonical(out, element);
            if (element->next)
                strbuf_add_char(out, ',');
        }
        strbuf_add_char(out, ']');
        break;
    case JSON_OBJECT:
        naive_object(out, value);
        break;
    }
}

#endif
