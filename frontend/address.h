/* Client addresses: as text for workers and logs, as a key for caps and rate limits, and which of them are proxies whose
 * X-Forwarded-For we believe. Pure; any thread. */
#ifndef MYELIN_FRONTEND_ADDRESS_H
#define MYELIN_FRONTEND_ADDRESS_H

#include "lib/base/slice.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct address {
    unsigned char bytes[16];     /* IPv4 as ::ffff:a.b.c.d */
    char text[INET6_ADDRSTRLEN]; /* numeric */
    uint64_t key;                /* what counts as one client: an IPv4 address, an IPv6 /64 */
};

void address_from_socket(const struct sockaddr *from, struct address *out);
bool address_parse(struct slice text, struct address *out); /* numeric, v6 with or without brackets; false: not one */

/* A list of networks from a setting: "10.0.0.0/8, ::1". Freed with free(). Words that are no network are logged and left out. */
struct networks;
struct networks *networks_parse(const char *list);
bool networks_contain(const struct networks *networks, const struct address *address);

/* Who asks: the peer, or what the nearest untrusted hop of X-Forwarded-For (may be absent) was. */
void address_of_client(const struct networks *trusted, const struct address *peer, struct slice forwarded_for, struct address *out);

#endif
