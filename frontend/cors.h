/* Cross-origin headers: browsers on any site may use the client API (Client-Server API, "Web Browser Clients"). */
#ifndef MYELIN_FRONTEND_CORS_H
#define MYELIN_FRONTEND_CORS_H

#include "lib/base/slice.h"

struct cors_header {
    struct slice name, value;
};
extern const struct cors_header cors_headers[];
extern const size_t cors_header_count;

/* All but what only servers ask for: known or not, so that a browser can read a 404 too. */
bool cors_applies(struct slice path);

#endif
