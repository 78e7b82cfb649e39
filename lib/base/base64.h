/* Unpadded base64 as the Matrix appendices define it; the URL-safe alphabet for event ids of room version 4 and later. */
#ifndef MYELIN_BASE_BASE64_H
#define MYELIN_BASE_BASE64_H

#include "lib/base/arena.h"

struct slice base64_encode(struct arena *arena, struct slice bytes);     /* A–Z a–z 0–9 + /, no padding */
struct slice base64_encode_url(struct arena *arena, struct slice bytes); /* - and _ instead of + and / */
/* Accepts either alphabet and optional padding. Absent when it is not base64. */
struct slice base64_decode(struct arena *arena, struct slice text);
struct slice hex_encode(struct arena *arena, struct slice bytes);

#endif
