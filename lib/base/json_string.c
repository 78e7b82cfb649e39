/* Strings are most of what a homeserver parses. Plain ASCII is skipped eight bytes at a time and borrowed; everything else,
 * escapes and UTF-8, is looked at a character at a time and nothing malformed passes. */
#include "lib/base/json_string.h"

#include "lib/base/utf8.h"
#include "lib/base/word.h"

/* The first of: quote, backslash, control, malformed UTF-8, end. */
static inline const char *skip_plain(const char *at, const char *end)
{
    while (at < end) {
        if (end - at >= WORD_BYTES) {
            uint64_t marks = word_not_plain(word_load(at));
            at += marks ? word_first(marks) : WORD_BYTES;
            if (!marks)
                continue;
        }
        unsigned char c = (unsigned char)*at;
        if (c == '"' || c == '\\' || c < 0x20)
            return at;
        size_t length = utf8_sequence(at, (size_t)(end - at));
        if (!length)
            return at;
        at += length;
    }
    return at;
}

/* Why skip_plain stopped at something that is neither quote nor backslash. */
static const char *what_is_wrong(const char *at, const char *end)
{
    if (at == end)
        return "unterminated string";
    return (unsigned char)*at < 0x20 ? "control character in string" : "malformed UTF-8";
}

/* Four hexadecimal digits, or -1. */
static int32_t read_hex(const char *at, const char *end)
{
    if (end - at < 4)
        return -1;
    int32_t number = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        if (c >= '0' && c <= '9')
            number = number << 4 | (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            number = number << 4 | ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return number;
}

/* \uXXXX, or two of them that are one character; *at is behind the 'u'. -1 when malformed, -2 for half a pair. */
static int32_t read_code_point(const char **at, const char *end)
{
    int32_t unit = read_hex(*at, end);
    if (unit < 0)
        return -1;
    *at += 4;
    if (unit < 0xD800 || unit > 0xDFFF)
        return unit;
    if (unit > 0xDBFF || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return -2;
    int32_t low = read_hex(*at + 2, end);
    if (low < 0xDC00 || low > 0xDFFF)
        return -2;
    *at += 6;
    return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
}

static const char *read_escape(const char **at, const char *end, char **out)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (++*at == end)
        return "unterminated string";
    char c = *(*at)++;
    if (c == 'u') {
        int32_t code_point = read_code_point(at, end);
        if (code_point < 0)
            return code_point == -1 ? "malformed escape" : "lone surrogate";
        *out += utf8_put(*out, (uint32_t)code_point);
        return NULL;
    }
    const char *letter = memchr(letters, c, sizeof letters - 1);
    if (!letter)
        return "malformed escape";
    *(*out)++ = meanings[letter - letters];
    return NULL;
}

/* Upper bound for the decoded text: the bytes up to the closing quote, which escapes only shorten. */
static size_t raw_length(const char *start, const char *end)
{
    const char *at = start;
    while (at < end && *at != '"') {
        if (end - at >= WORD_BYTES && !word_to_escape(word_load(at)))
            at += WORD_BYTES;
        else
            at += *at == '\\' && end - at > 1 ? 2 : 1;
    }
    return (size_t)(at - start);
}

/* The rest of a string whose first backslash is at `stop`. */
static const char *read_escaped(struct arena *arena, const char **at, const char *stop, const char *end, struct slice *text)
{
    const char *plain = *at;
    char *decoded = arena_alloc_raw(arena, raw_length(plain, end) + 1), *out = decoded;
    for (;;) {
        size_t length = (size_t)(stop - plain);
        memcpy(out, plain, length);
        out += length;
        if (stop < end && *stop == '"')
            break;
        if (stop == end || *stop != '\\')
            return what_is_wrong(stop, end);
        plain = stop;
        const char *wrong = read_escape(&plain, end, &out);
        if (wrong)
            return wrong;
        stop = skip_plain(plain, end);
    }
    *out = '\0';
    *text = slice_of(decoded, (size_t)(out - decoded));
    *at = stop + 1;
    return NULL;
}

const char *json_string_read(struct arena *arena, const char **at, const char *end, struct slice *text, bool *escaped)
{
    ++*at;
    const char *stop = skip_plain(*at, end);
    if (stop == end)
        return what_is_wrong(stop, end);
    if (*stop == '\\') {
        *escaped = true;
        return read_escaped(arena, at, stop, end, text);
    }
    if (*stop != '"')
        return what_is_wrong(stop, end);
    *text = slice_of(*at, (size_t)(stop - *at));
    *at = stop + 1;
    return NULL;
}

static void add_escape(struct strbuf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[0x20] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char letter = c < 0x20 ? letters[c] : (char)c;
    if (letter)
        strbuf_add(out, slice_of((char[]){'\\', letter}, 2));
    else
        strbuf_add(out, slice_of((char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6));
}

/* The first byte that must be escaped, or the end. */
static const char *skip_unescaped(const char *at, const char *end)
{
    for (; end - at >= WORD_BYTES; at += WORD_BYTES) {
        uint64_t marks = word_to_escape(word_load(at));
        if (marks)
            return at + word_first(marks);
    }
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
        at++;
    return at;
}

void json_escape_into(struct strbuf *out, struct slice text)
{
    const char *at = text.at, *end = text.at + text.len;
    strbuf_reserve(out, text.len + 2);
    out->at[out->len++] = '"';
    while (at < end) {
        const char *stop = skip_unescaped(at, end);
        strbuf_add(out, slice_of(at, (size_t)(stop - at)));
        if (stop < end)
            add_escape(out, (unsigned char)*stop++);
        at = stop;
    }
    strbuf_add_char(out, '"');
}
