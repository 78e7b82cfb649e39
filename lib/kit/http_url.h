/* https URLs, taken apart and followed (RFC 3986 by libcurl). Pure. */
#ifndef MYELIN_KIT_HTTP_URL_H
#define MYELIN_KIT_HTTP_URL_H

#include "lib/base/arena.h"

struct http_url {
    struct slice host; /* without brackets */
    int port;
    struct slice host_header; /* with brackets, and with the port unless it is 443 */
    struct slice uri;         /* path and query, starts with "/" */
};

/* reference: absolute, or relative to base (absent: must be absolute). False: not a URL, not https, or with a user in it. */
bool http_url_parse(struct arena *arena, struct slice base, struct slice reference, struct http_url *out);
/* "https://host:port/uri" */
struct slice http_url_write(struct arena *arena, struct slice host, int port, struct slice uri);

#endif
