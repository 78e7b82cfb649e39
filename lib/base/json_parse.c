/* The strict parser (json.h says what it rejects). Recursive descent, one function per production of RFC 8259; the depth
 * limit bounds the recursion. Strict, because a signature is over bytes: two servers that read the same bytes differently
 * disagree about what was signed.
 * `untidy` counts what canonical JSON would have written otherwise (blanks, escapes, keys out of order, -0, 1e3). A value during
 * which it did not move is canonical as it stands, and its span can be hashed and signed without being written again. */
#include "lib/base/json.h"

#include <math.h>
#include <stdlib.h>

#include "lib/base/json_order.h"
#include "lib/base/json_string.h"

enum { NODES_FIRST = 8, NODES_MAX = 64 };

struct parser {
    const char *at, *end;
    struct arena *arena;
    struct json *spare; /* nodes are taken from the arena a handful at a time */
    unsigned spare_count, next_nodes;
    unsigned depth;
    enum json_mode mode;
    uint32_t untidy;
    const char *error;
};

static bool parse_value(struct parser *p, struct json *value);

static bool fail(struct parser *p, const char *why)
{
    p->error = why;
    return false;
}

static struct json *node_new(struct parser *p)
{
    if (!p->spare_count) {
        p->spare = arena_alloc_raw(p->arena, p->next_nodes * sizeof *p->spare);
        p->spare_count = p->next_nodes;
        if (p->next_nodes < NODES_MAX)
            p->next_nodes *= 2;
    }
    p->spare_count--;
    return memset(p->spare++, 0, sizeof(struct json));
}

static inline bool is_digit(const struct parser *p)
{
    return p->at < p->end && *p->at >= '0' && *p->at <= '9';
}

static inline bool next_is(const struct parser *p, char c)
{
    return p->at < p->end && *p->at == c;
}

static inline bool take(struct parser *p, char c)
{
    if (!next_is(p, c))
        return false;
    p->at++;
    return true;
}

static inline void skip_blanks(struct parser *p)
{
    if (p->at == p->end || *p->at > ' ')
        return;
    const char *start = p->at;
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
    p->untidy += p->at != start;
}

static bool parse_string(struct parser *p, struct slice *text)
{
    bool escaped = false;
    p->error = json_string_read(p->arena, &p->at, p->end, text, &escaped);
    p->untidy += escaped;
    return p->error == NULL;
}

/* At the fraction or exponent of the number that began at `start`. No process calls setlocale(), so strtod() wants a '.'. */
static bool parse_real(struct parser *p, const char *start, struct json *value)
{
    if (p->mode == JSON_CANONICAL)
        return fail(p, "number is not an integer");
    if (take(p, '.')) {
        if (!is_digit(p))
            return fail(p, "malformed number");
        while (is_digit(p))
            p->at++;
    }
    if (next_is(p, 'e') || next_is(p, 'E')) {
        p->at++;
        p->untidy++;
        if (next_is(p, '+') || next_is(p, '-'))
            p->at++;
        if (!is_digit(p))
            return fail(p, "malformed number");
        while (is_digit(p))
            p->at++;
    }
    char brief[64];
    size_t length = (size_t)(p->at - start);
    char *text = length < sizeof brief ? brief : arena_alloc_raw(p->arena, length + 1);
    memcpy(text, start, length);
    text[length] = '\0';
    value->type = JSON_REAL;
    value->real = strtod(text, NULL);
    if (!isfinite(value->real))
        return fail(p, "number out of range");
    bool fits = value->real >= -0x1p63 && value->real < 0x1p63;
    value->integer = fits ? (int64_t)value->real : 0;
    return true;
}

static bool parse_number(struct parser *p, struct json *value)
{
    const char *start = p->at;
    bool negative = take(p, '-'), overflow = false;
    if (!is_digit(p))
        return fail(p, "malformed number");
    const char *digits = p->at;
    int64_t number = 0; /* counted downwards: INT64_MIN has no positive twin */
    for (; is_digit(p); p->at++)
        overflow |= __builtin_mul_overflow(number, 10, &number) || __builtin_sub_overflow(number, *p->at - '0', &number);
    if (*digits == '0' && p->at - digits > 1)
        return fail(p, "leading zero");
    if (next_is(p, '.') || next_is(p, 'e') || next_is(p, 'E'))
        return parse_real(p, start, value);
    if (!negative)
        overflow |= __builtin_sub_overflow((int64_t)0, number, &number);
    if (overflow)
        return fail(p, "number out of range");
    if (negative && number == 0) {
        if (p->mode == JSON_CANONICAL)
            return fail(p, "negative zero");
        p->untidy++;
    }
    if (p->mode == JSON_CANONICAL && (number > JSON_INT_MAX || number < -JSON_INT_MAX))
        return fail(p, "number out of range");
    value->type = JSON_INT;
    value->integer = number;
    value->real = (double)number;
    return true;
}

static bool parse_word(struct parser *p, struct slice word, struct json *value, enum json_type type)
{
    if (!slice_starts_with(slice_of(p->at, (size_t)(p->end - p->at)), word))
        return fail(p, "unexpected character");
    p->at += word.len;
    value->type = type;
    value->boolean = type == JSON_BOOL && word.at[0] == 't';
    return true;
}

static bool has_duplicates(struct parser *p, const struct json *object)
{
    const struct json_ordered *order = json_order(p->arena, object);
    for (size_t i = 1; i < object->count; i++)
        if (order[i - 1].prefix == order[i].prefix && slice_eq(order[i - 1].member->key, order[i].member->key))
            return true;
    return false;
}

/* "key": value. At the key's opening quote, if there is one. */
static bool parse_member(struct parser *p, struct json *member)
{
    struct slice key;
    if (!next_is(p, '"'))
        return fail(p, "key expected");
    if (!parse_string(p, &key))
        return false;
    skip_blanks(p);
    if (!take(p, ':'))
        return fail(p, "colon expected");
    skip_blanks(p);
    member->key = key;
    return parse_value(p, member);
}

/* Keys that arrive in order, as Synapse sends them, are known to differ; other objects are sorted at their end. */
static bool parse_object(struct parser *p, struct json *object)
{
    struct json **link = &object->first;
    const struct json *last = NULL;
    bool in_order = true;
    p->at++;
    skip_blanks(p);
    if (take(p, '}'))
        return true;
    do {
        skip_blanks(p);
        struct json *member = node_new(p);
        if (!parse_member(p, member))
            return false;
        if (last && in_order && slice_cmp(last->key, member->key) >= 0) {
            in_order = false;
            p->untidy++;
        }
        *link = member; /* NOLINT(clang-analyzer-core.NullDereference): takes what node_new gives for NULL one round later */
        link = &member->next;
        last = member;
        object->count++;
        skip_blanks(p);
    } while (take(p, ','));
    if (!take(p, '}'))
        return fail(p, "comma or } expected");
    if (!in_order && has_duplicates(p, object))
        return fail(p, "duplicate key");
    return true;
}

static bool parse_array(struct parser *p, struct json *array)
{
    struct json **link = &array->first;
    p->at++;
    skip_blanks(p);
    if (take(p, ']'))
        return true;
    do {
        skip_blanks(p);
        struct json *element = node_new(p);
        if (!parse_value(p, element))
            return false;
        *link = element;
        link = &element->next;
        array->count++;
        skip_blanks(p);
    } while (take(p, ','));
    return take(p, ']') || fail(p, "comma or ] expected");
}

static bool parse_container(struct parser *p, struct json *value, enum json_type type)
{
    if (p->depth == JSON_DEPTH_MAX)
        return fail(p, "nested too deeply");
    p->depth++;
    value->type = type;
    if (!(type == JSON_OBJECT ? parse_object(p, value) : parse_array(p, value)))
        return false;
    p->depth--;
    return true;
}

static bool parse_by_first(struct parser *p, struct json *value)
{
    switch (*p->at) {
    case '{':
        return parse_container(p, value, JSON_OBJECT);
    case '[':
        return parse_container(p, value, JSON_ARRAY);
    case '"':
        value->type = JSON_STRING;
        return parse_string(p, &value->text);
    case 't':
        return parse_word(p, SLICE("true"), value, JSON_BOOL);
    case 'f':
        return parse_word(p, SLICE("false"), value, JSON_BOOL);
    case 'n':
        return parse_word(p, SLICE("null"), value, JSON_NULL);
    case '-':
    case '0' ... '9':
        return parse_number(p, value);
    default:
        return fail(p, "unexpected character");
    }
}

static bool parse_value(struct parser *p, struct json *value)
{
    if (p->at == p->end)
        return fail(p, "value expected");
    const char *start = p->at;
    uint32_t untidy = p->untidy;
    if (!parse_by_first(p, value))
        return false;
    value->span = slice_of(start, (size_t)(p->at - start));
    value->tidy = untidy == p->untidy;
    return true;
}

struct json *json_parse(struct arena *arena, struct slice text, enum json_mode mode, const char **error)
{
    if (slice_is_absent(text))
        text = SLICE(""); /* an absent text is no JSON either; arithmetic on NULL is not for us */
    struct parser p = {.at = text.at, .end = text.at + text.len, .arena = arena, .next_nodes = NODES_FIRST, .mode = mode};
    struct json *root = node_new(&p);
    skip_blanks(&p);
    bool good = parse_value(&p, root);
    if (good) {
        skip_blanks(&p);
        good = p.at == p.end || fail(&p, "text after the value");
    }
    if (!good && error)
        *error = p.error;
    return good ? root : NULL;
}
