/* Percent-encoding; see uri.h. */
#include "lib/base/uri.h"

struct slice uri_encode(struct arena *arena, struct slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(arena, text.len * 3 + 1);
    size_t length = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
            c == '~') {
            out[length++] = (char)c;
            continue;
        }
        out[length++] = '%';
        out[length++] = digits[c >> 4];
        out[length++] = digits[c & 15];
    }
    return slice_of(out, length);
}
