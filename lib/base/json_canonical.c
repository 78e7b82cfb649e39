/* Canonical JSON (spec appendices, "Canonical JSON"): the bytes that are hashed and signed. Parts of the source that are
 * canonical already, the usual case for what other servers send, are copied as they are. */
#include "lib/base/json.h"
#include "lib/base/json_order.h"

static bool is_listed(struct slice key, const char *const *names)
{
    for (; names && *names; names++)
        if (slice_eq(key, slice_from_cstr(*names)))
            return true;
    return false;
}

static void write_value(struct strbuf *out, const struct json *value);

static void write_member(struct strbuf *out, const struct json *member, bool *comma)
{
    if (*comma)
        strbuf_add_char(out, ',');
    *comma = true;
    json_escape_into(out, member->key);
    strbuf_add_char(out, ':');
    write_value(out, member);
}

static bool is_in_order(const struct json *object)
{
    json_each (member, object)
        if (member->next && slice_cmp(member->key, member->next->key) >= 0)
            return false;
    return true;
}

static void write_object(struct strbuf *out, const struct json *object, const char *const *without)
{
    bool comma = false;
    strbuf_add_char(out, '{');
    if (is_in_order(object)) {
        json_each (member, object)
            if (!is_listed(member->key, without))
                write_member(out, member, &comma);
    } else {
        const struct json_ordered *order = json_order(out->arena, object);
        for (size_t i = 0; i < object->count; i++)
            if (!is_listed(order[i].member->key, without))
                write_member(out, order[i].member, &comma);
    }
    strbuf_add_char(out, '}');
}

static void write_array(struct strbuf *out, const struct json *array)
{
    strbuf_add_char(out, '[');
    json_each (element, array) {
        write_value(out, element);
        if (element->next)
            strbuf_add_char(out, ',');
    }
    strbuf_add_char(out, ']');
}

/* Only events of room versions 1 to 5 have these. The appendix writes 1e10 as 10000000000; 1.0 stays, as Synapse signs it. */
static void write_real(struct strbuf *out, const struct json *number)
{
    bool has_exponent = memchr(number->span.at, 'e', number->span.len) || memchr(number->span.at, 'E', number->span.len);
    bool is_safe = number->integer >= -JSON_INT_MAX && number->integer <= JSON_INT_MAX;
    if (has_exponent && is_safe && number->real == (double)number->integer)
        strbuf_add_i64(out, number->integer);
    else
        strbuf_add(out, number->span);
}

static void write_value(struct strbuf *out, const struct json *value)
{
    if (value->tidy) {
        strbuf_add(out, value->span);
        return;
    }
    switch (value->type) {
    case JSON_OBJECT:
        write_object(out, value, NULL);
        break;
    case JSON_ARRAY:
        write_array(out, value);
        break;
    case JSON_STRING:
        json_escape_into(out, value->text);
        break;
    case JSON_INT:
        strbuf_add_i64(out, value->integer);
        break;
    case JSON_NULL:
        strbuf_add(out, SLICE("null"));
        break;
    case JSON_BOOL:
        strbuf_add(out, value->boolean ? SLICE("true") : SLICE("false"));
        break;
    case JSON_REAL:
        write_real(out, value);
        break;
    }
}

void json_canonical_into(struct strbuf *out, const struct json *value, const char *const *without)
{
    strbuf_reserve(out, value->span.len); /* canonical is the shortest form: this is enough, but for 1e10 */
    if (without && value->type == JSON_OBJECT)
        write_object(out, value, without);
    else
        write_value(out, value);
}

struct slice json_canonical(struct arena *arena, const struct json *value, const char *const *without)
{
    struct strbuf out = strbuf_in(arena);
    json_canonical_into(&out, value, without);
    return strbuf_slice(&out);
}
