/* Strict UTF-8: Unicode's table 3-7 of well-formed byte sequences, written as code. */
#include "lib/base/utf8.h"

#include "lib/base/json.h"
#include "lib/base/word.h"

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

size_t utf8_sequence(const char *at, size_t left)
{
    if (!left)
        return 0;
    unsigned char lead = (unsigned char)at[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4 || left < 2 || !is_continuation(at[1]))
        return 0;
    if (lead < 0xE0)
        return 2;
    unsigned char second = (unsigned char)at[1];
    if (lead < 0xF0) {
        bool overlong = lead == 0xE0 && second < 0xA0, surrogate = lead == 0xED && second > 0x9F;
        return !overlong && !surrogate && left > 2 && is_continuation(at[2]) ? 3 : 0;
    }
    bool overlong = lead == 0xF0 && second < 0x90, beyond = lead == 0xF4 && second > 0x8F;
    return !overlong && !beyond && left > 3 && is_continuation(at[2]) && is_continuation(at[3]) ? 4 : 0;
}

size_t utf8_put(char *at, uint32_t code_point)
{
    if (code_point < 0x80) {
        at[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        at[0] = (char)(0xC0 | code_point >> 6);
        at[1] = (char)(0x80 | (code_point & 63));
        return 2;
    }
    if (code_point < 0x10000) {
        at[0] = (char)(0xE0 | code_point >> 12);
        at[1] = (char)(0x80 | (code_point >> 6 & 63));
        at[2] = (char)(0x80 | (code_point & 63));
        return 3;
    }
    at[0] = (char)(0xF0 | code_point >> 18);
    at[1] = (char)(0x80 | (code_point >> 12 & 63));
    at[2] = (char)(0x80 | (code_point >> 6 & 63));
    at[3] = (char)(0x80 | (code_point & 63));
    return 4;
}

bool utf8_is_valid(struct slice text)
{
    const char *at = text.at, *end = text.at + text.len;
    while (at < end) {
        if (end - at >= WORD_BYTES && !(word_load(at) & WORD_HIGH_BITS)) {
            at += WORD_BYTES;
            continue;
        }
        size_t length = utf8_sequence(at, (size_t)(end - at));
        if (!length)
            return false;
        at += length;
    }
    return true;
}

size_t utf8_length(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.at[i] & 0xC0) != 0x80;
    return count;
}
