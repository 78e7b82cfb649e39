/* Whether the head of an HTTP/1 request can be read in two ways: what a proxy before us understands differently lets one request
 * hide in another (RFC 9112 §11.2). Pure. */
#ifndef MYELIN_FRONTEND_FRAMING_H
#define MYELIN_FRONTEND_FRAMING_H

#include "lib/base/slice.h"

/* head: from the request line on, header names in lower case as h2o leaves them; what follows the blank line is not read. Why it is
 * ambiguous ("two Content-Length headers"); NULL when it is clear. */
const char *framing_error(struct slice head, bool needs_host);

#endif
