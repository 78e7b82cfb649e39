/* Unpadded base64 (spec appendices, "Unpadded Base64"). Signatures and hashes pass here for every event, so decoding is a
 * table look-up per character. Not constant time: what passes here is public. */
#include "lib/base/base64.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* 1 + the six bits of a character, 0 when it is none. Both alphabets at once. */
static const unsigned char six_bits[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,  ['I'] = 9,  ['J'] = 10,
    ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20,
    ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30,
    ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50,
    ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60,
    ['8'] = 61, ['9'] = 62, ['+'] = 63, ['-'] = 63, ['/'] = 64, ['_'] = 64,
};

static struct slice encode(struct arena *arena, struct slice bytes, const char *alphabet)
{
    const unsigned char *in = (const unsigned char *)bytes.at;
    size_t whole = bytes.len / 3, rest = bytes.len % 3;
    size_t length = whole * 4 + (rest ? rest + 1 : 0);
    char *text = arena_alloc_raw(arena, length + 1), *out = text;
    for (size_t i = 0; i < whole; i++, in += 3, out += 4) {
        uint32_t group = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        out[0] = alphabet[group >> 18];
        out[1] = alphabet[group >> 12 & 63];
        out[2] = alphabet[group >> 6 & 63];
        out[3] = alphabet[group & 63];
    }
    if (rest) {
        uint32_t group = (uint32_t)in[0] << 16 | (rest == 2 ? (uint32_t)in[1] << 8 : 0);
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        if (rest == 2)
            *out++ = alphabet[group >> 6 & 63];
    }
    text[length] = '\0';
    return slice_of(text, length);
}

struct slice base64_encode(struct arena *arena, struct slice bytes)
{
    return encode(arena, bytes, standard);
}

struct slice base64_encode_url(struct arena *arena, struct slice bytes)
{
    return encode(arena, bytes, url_safe);
}

/* Bits beyond the last whole byte are ignored, as Synapse and Python do: there are such signatures in old rooms. */
struct slice base64_decode(struct arena *arena, struct slice text)
{
    if (slice_is_absent(text))
        return SLICE_ABSENT;
    if (text.len % 4 == 0)
        for (int padding = 0; padding < 2 && slice_ends_with(text, SLICE("=")); padding++)
            text.len--;
    if (text.len % 4 == 1)
        return SLICE_ABSENT;
    size_t length = text.len / 4 * 3 + (text.len % 4 ? text.len % 4 - 1 : 0);
    unsigned char *bytes = arena_alloc_raw(arena, length + 1), *out = bytes;
    uint32_t group = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned bits = six_bits[(unsigned char)text.at[i]];
        if (!bits)
            return SLICE_ABSENT;
        group = group << 6 | (bits - 1);
        if (i % 4 == 3) {
            *out++ = (unsigned char)(group >> 16);
            *out++ = (unsigned char)(group >> 8);
            *out++ = (unsigned char)group;
        }
    }
    if (text.len % 4 == 2)
        *out++ = (unsigned char)(group >> 4);
    if (text.len % 4 == 3) {
        *out++ = (unsigned char)(group >> 10);
        *out++ = (unsigned char)(group >> 2);
    }
    *out = '\0';
    return slice_of(bytes, length);
}

struct slice hex_encode(struct arena *arena, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *text = arena_alloc_raw(arena, bytes.len * 2 + 1);
    for (size_t i = 0; i < bytes.len; i++) {
        text[2 * i] = digits[(unsigned char)bytes.at[i] >> 4];
        text[2 * i + 1] = digits[(unsigned char)bytes.at[i] & 15];
    }
    text[2 * bytes.len] = '\0';
    return slice_of(text, bytes.len * 2);
}
