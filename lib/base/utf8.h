/* One step of strict UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF), shared by all who look at
 * text. Pure; any thread. */
#ifndef MYELIN_BASE_UTF8_H
#define MYELIN_BASE_UTF8_H

#include "lib/base/slice.h"

/* Bytes of the well-formed sequence that starts at `at`, of `left` bytes; 0 when there is none. */
size_t utf8_sequence(const char *at, size_t left);
/* Code points of text that is UTF-8: bytes that begin a sequence. */
size_t utf8_length(struct slice text);
/* Writes a code point (a scalar value) and says how many bytes that took: 1 to 4. */
size_t utf8_put(char *at, uint32_t code_point);

#endif
