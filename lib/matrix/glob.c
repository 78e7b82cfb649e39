/* Spec appendix "Glob-style matching", declared in ids.h: '*' is any run of characters, '?' is one. ASCII case is ignored, as
 * server ACLs and push rules want it. On a mismatch only the last '*' is tried again, one character further on; earlier ones
 * need not be, so a hostile pattern costs at most pattern × text steps, not exponentially many. */
#include "lib/matrix/ids.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Where the character after the one at `i` starts; text that is not UTF-8 goes byte by byte. */
static size_t next_character(struct slice text, size_t i)
{
    i++;
    while (i < text.len && ((unsigned char)text.at[i] & 0xc0) == 0x80)
        i++;
    return i;
}

bool glob_match(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, retry = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.at[p] == '*') {
            star = p++;
            retry = t;
        } else if (p < pattern.len && pattern.at[p] == '?') {
            p++;
            t = next_character(text, t);
        } else if (p < pattern.len && lower(pattern.at[p]) == lower(text.at[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = retry = next_character(text, retry);
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.at[p] == '*')
        p++;
    return p == pattern.len;
}
