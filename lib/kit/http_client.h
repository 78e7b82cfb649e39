/* Outbound HTTPS (DESIGN §10, §14): libcurl with pooled HTTP/2 or 1.1 connections. Every outbound request of the house passes here,
 * and with it the one SSRF guard: the address really connected to must not be private unless federation_allow_private. Blocking;
 * any thread; one engine per process (a curl multi thread; facts/STACK.md §6 for its traps). */
#ifndef MYELIN_KIT_HTTP_CLIENT_H
#define MYELIN_KIT_HTTP_CLIENT_H

#include "lib/base/arena.h"
#include "lib/kit/settings.h"
#include "proto/fault.h"

struct http_client;
struct http_client *
http_client_create(const struct settings *settings); /* federation_ca_file, federation_verify, federation_allow_private */
void http_client_destroy(struct http_client **client);

struct http_fetch {
    struct slice method;           /* "GET" */
    struct slice certificate_name; /* TLS SNI and the name that the certificate must carry (an IP literal too) */
    struct slice host_header;
    struct slice address; /* numeric; several, with commas, race (happy eyeballs); absent: resolve certificate_name by the system */
    int port;
    struct slice uri;           /* path and query */
    struct slice authorization; /* absent if none */
    struct slice content_type;  /* with a body */
    struct slice body;          /* absent if none */
    int64_t deadline_ms;        /* monotonic */
    int64_t size_max;           /* bytes of the answer's body */
    int redirects_max;          /* 0: none are followed; each hop passes the guard, https only */
};
struct http_answer {
    int status;
    struct slice content_type, body, cache_control, expires, location;
    bool blocked;      /* with PEER: the guard refused the address */
    const char *error; /* with a fault: what failed, static or in the arena */
};
/* FAULT_OK for any HTTP status. PEER: connect, TLS, protocol; DEADLINE; TOO_LARGE: past size_max. */
enum fault http_fetch(struct http_client *client, struct arena *arena, const struct http_fetch *request,
                      struct http_answer *answer);
bool address_is_private(struct slice numeric_address); /* loopback, RFC 1918, link-local, ULA, CGNAT, multicast, mapped v4… */

#endif
