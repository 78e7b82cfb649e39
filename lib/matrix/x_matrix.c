/* Server-Server API "Request Authentication": the Authorization header by RFC 9110 §11.4, and the bytes under its signature.
 * Read as the RFC says and no more tolerantly than the spec asks (unquoted colons): who may speak for a server hangs on it,
 * so a parameter given twice is malformed, not "the last one wins". */
#include "lib/matrix/x_matrix.h"

#include "lib/matrix/ids.h"

struct reader {
    const char *at, *end;
    struct arena *arena;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool more(const struct reader *r)
{
    return r->at < r->end;
}

static void skip_blanks(struct reader *r)
{
    while (more(r) && is_blank(*r->at))
        r->at++;
}

static bool take(struct reader *r, char c)
{
    if (!more(r) || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* RFC 9110 §5.6.2 */
static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static struct slice read_token(struct reader *r, bool colons)
{
    const char *start = r->at;
    while (more(r) && (is_token_char(*r->at) || (colons && *r->at == ':')))
        r->at++;
    return slice_of(start, (size_t)(r->at - start));
}

/* RFC 9110 §5.6.4, after the opening quote. Copied only when a backslash makes it necessary to. */
static bool read_quoted(struct reader *r, struct slice *out)
{
    const char *start = r->at;
    struct strbuf text = strbuf_in(r->arena);
    bool escaped = false;
    for (; more(r) && *r->at != '"'; r->at++) {
        if (*r->at == '\\') {
            if (!escaped)
                strbuf_add(&text, slice_of(start, (size_t)(r->at - start)));
            escaped = true;
            r->at++;
        }
        if (!more(r) || ((unsigned char)*r->at < ' ' && *r->at != '\t') || *r->at == 0x7f)
            return false;
        if (escaped)
            strbuf_add_char(&text, *r->at);
    }
    *out = escaped ? strbuf_slice(&text) : slice_of(start, (size_t)(r->at - start));
    return take(r, '"');
}

/* name BWS "=" BWS ( token / quoted-string ) */
static bool read_parameter(struct reader *r, struct slice *name, struct slice *value)
{
    *name = read_token(r, false);
    skip_blanks(r);
    if (!name->len || !take(r, '='))
        return false;
    skip_blanks(r);
    if (take(r, '"'))
        return read_quoted(r, value);
    *value = read_token(r, true);
    return value->len > 0;
}

/* The spec's list calls the last one "signature", its examples and every server "sig". NULL for unknown ones. */
static struct slice *field_of(struct x_matrix *found, struct slice name)
{
    if (slice_eq_ignoring_case(name, SLICE("origin")))
        return &found->origin;
    if (slice_eq_ignoring_case(name, SLICE("destination")))
        return &found->destination;
    if (slice_eq_ignoring_case(name, SLICE("key")))
        return &found->key_id;
    if (slice_eq_ignoring_case(name, SLICE("sig")) || slice_eq_ignoring_case(name, SLICE("signature")))
        return &found->signature;
    return NULL;
}

/* Empty elements between commas are skipped (RFC 9110 §5.6.1.2). */
static bool read_parameters(struct reader *r, struct x_matrix *found)
{
    while (true) {
        skip_blanks(r);
        while (take(r, ','))
            skip_blanks(r);
        if (!more(r))
            return true;
        struct slice name, value;
        if (!read_parameter(r, &name, &value))
            return false;
        struct slice *field = field_of(found, name);
        if (field && !slice_is_absent(*field))
            return false;
        if (field)
            *field = value;
        skip_blanks(r);
        if (more(r) && *r->at != ',')
            return false;
    }
}

bool x_matrix_parse(struct arena *arena, struct slice header, struct x_matrix *out)
{
    struct slice scheme, rest;
    if (!slice_cut(header, ' ', &scheme, &rest) || !slice_eq_ignoring_case(scheme, SLICE("X-Matrix")))
        return false;
    struct reader reader = {.at = rest.at, .end = rest.at + rest.len, .arena = arena};
    struct x_matrix found = {0};
    if (!read_parameters(&reader, &found))
        return false;
    if (!server_name_is_valid(found.origin) || !found.key_id.len || !found.signature.len)
        return false;
    if (!slice_is_absent(found.destination) && !server_name_is_valid(found.destination))
        return false;
    *out = found;
    return true;
}

static void add_parameter(struct strbuf *out, const char *before, struct slice value)
{
    strbuf_add_cstr(out, before);
    strbuf_add(out, value);
    strbuf_add_char(out, '"');
}

/* As older servers want it: one space, lower-case names, no blanks. None of the values can hold a quote or a backslash. */
struct slice x_matrix_format(struct arena *arena, const struct x_matrix *header)
{
    struct strbuf out = strbuf_in(arena);
    add_parameter(&out, "X-Matrix origin=\"", header->origin);
    if (!slice_is_absent(header->destination))
        add_parameter(&out, ",destination=\"", header->destination);
    add_parameter(&out, ",key=\"", header->key_id);
    add_parameter(&out, ",sig=\"", header->signature);
    return strbuf_slice(&out);
}

struct slice x_matrix_signing_bytes(struct arena *arena, struct slice method, struct slice uri, struct slice origin,
                                    struct slice destination, struct slice content)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w); /* keys in canonical order */
    if (!slice_is_absent(content)) {
        const struct json *body = json_parse(arena, content, JSON_LAX, NULL);
        if (!body)
            return SLICE_ABSENT;
        json_put_raw(&w, "content", json_canonical(arena, body, NULL));
    }
    json_put_string(&w, "destination", destination);
    json_put_string(&w, "method", method);
    json_put_string(&w, "origin", origin);
    json_put_string(&w, "uri", uri);
    json_end_object(&w);
    return json_done(&w);
}
