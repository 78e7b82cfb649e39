/* The settings client_listen and federation_listen: "127.0.0.1:8008,[::]:8448,tls". `tls` and `plain` belong to the address before
 * them. Here because two must agree on it: the frontend that listens, and the supervisor that looks first whether it can. Pure. */
#ifndef MYELIN_KIT_ENDPOINTS_H
#define MYELIN_KIT_ENDPOINTS_H

#include "lib/base/slice.h"

#include <sys/socket.h>

struct endpoint {
    char host[256]; /* "" for any address */
    char port[6];
    bool tls;
};
enum { ENDPOINTS_MAX = 32 };

/* Appends to endpoints; −1 when the list is malformed, *wrong is the word then; else the new count. */
int endpoints_parse(const char *list, struct endpoint *endpoints, int count, struct slice *wrong);

/* The address to bind, any address as IPv6's, which takes IPv4 too. NULL, or why there is none. */
const char *endpoint_address(const struct endpoint *endpoint, struct sockaddr_storage *address, socklen_t *len);

#endif
