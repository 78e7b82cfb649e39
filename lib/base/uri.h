/* Percent-encoding of one path segment or query value (RFC 3986): everything but unreserved characters. */
#ifndef MYELIN_BASE_URI_H
#define MYELIN_BASE_URI_H

#include "lib/base/arena.h"

struct slice uri_encode(struct arena *arena, struct slice text);

#endif
