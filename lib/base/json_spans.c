/* Spans of a JSON text's parts; see json_spans.h. */
#include "lib/base/json_spans.h"

#include "lib/base/json_string.h"

static bool fail(struct json_spans *spans, const char *why)
{
    spans->error = why;
    return false;
}

static void skip_blanks(struct json_spans *spans)
{
    while (spans->at < spans->end && (*spans->at == ' ' || *spans->at == '\n' || *spans->at == '\r' || *spans->at == '\t'))
        spans->at++;
}

static bool next_is(const struct json_spans *spans, char c)
{
    return spans->at < spans->end && *spans->at == c;
}

static bool take(struct json_spans *spans, char c)
{
    if (!next_is(spans, c))
        return false;
    spans->at++;
    return true;
}

/* From the opening quote to behind the closing one: the first quote with an even number of backslashes before it. */
static bool skip_string(struct json_spans *spans)
{
    const char *start = ++spans->at;
    for (;;) {
        const char *quote = memchr(spans->at, '"', (size_t)(spans->end - spans->at));
        if (!quote)
            return fail(spans, "unterminated string");
        const char *before = quote;
        while (before > start && before[-1] == '\\')
            before--;
        spans->at = quote + 1;
        if ((quote - before) % 2 == 0)
            return true;
    }
}

/* In JSON, brackets outside of strings are balanced, so counting them finds the end; what is not JSON ends somewhere. */
static bool skip_container(struct json_spans *spans)
{
    size_t open = 0;
    while (spans->at < spans->end) {
        char c = *spans->at;
        if (c == '"') {
            if (!skip_string(spans))
                return false;
            continue;
        }
        spans->at++;
        if (c == '{' || c == '[')
            open++;
        else if ((c == '}' || c == ']') && --open == 0)
            return true;
    }
    return fail(spans, "unterminated object or array");
}

static bool skip_value(struct json_spans *spans)
{
    if (next_is(spans, '"'))
        return skip_string(spans);
    if (next_is(spans, '{') || next_is(spans, '['))
        return skip_container(spans);
    const char *start = spans->at;
    while (spans->at < spans->end && !memchr(",]} \n\r\t", *spans->at, 7)) /* a number or a word */
        spans->at++;
    return spans->at > start || fail(spans, "value expected");
}

bool json_spans_begin(struct json_spans *spans, struct arena *arena, struct slice text, enum json_type type)
{
    if (slice_is_absent(text))
        text = SLICE("");
    *spans = (struct json_spans){
        .arena = arena, .at = text.at, .end = text.at + text.len, .is_object = type == JSON_OBJECT, .is_first = true};
    skip_blanks(spans);
    return take(spans, spans->is_object ? '{' : '[') || fail(spans, spans->is_object ? "{ expected" : "[ expected");
}

/* Behind the last part: only blanks may follow. */
static bool finish(struct json_spans *spans)
{
    skip_blanks(spans);
    if (spans->at < spans->end)
        return fail(spans, "text after the value");
    return false;
}

bool json_spans_next(struct json_spans *spans, struct slice *key, struct slice *value)
{
    if (spans->error)
        return false;
    char close = spans->is_object ? '}' : ']';
    skip_blanks(spans);
    if (spans->is_first ? take(spans, close) : !next_is(spans, ',') && take(spans, close))
        return finish(spans);
    if (!spans->is_first && !take(spans, ','))
        return fail(spans, "comma or bracket expected");
    spans->is_first = false;
    skip_blanks(spans);
    if (spans->is_object) {
        struct slice name;
        bool escaped;
        if (!next_is(spans, '"'))
            return fail(spans, "key expected");
        if ((spans->error = json_string_read(spans->arena, &spans->at, spans->end, &name, &escaped)))
            return false;
        skip_blanks(spans);
        if (!take(spans, ':'))
            return fail(spans, "colon expected");
        skip_blanks(spans);
        if (key)
            *key = name;
    }
    const char *start = spans->at;
    if (!skip_value(spans))
        return false;
    *value = slice_of(start, (size_t)(spans->at - start));
    return true;
}

bool json_spans_count(struct arena *arena, struct slice array, size_t *count)
{
    struct json_spans spans;
    struct slice value;
    size_t found = 0;
    if (!json_spans_begin(&spans, arena, array, JSON_ARRAY))
        return false;
    while (json_spans_next(&spans, NULL, &value))
        found++;
    *count = found;
    return !spans.error;
}
