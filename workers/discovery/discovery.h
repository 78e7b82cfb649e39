/* Server discovery: from a server name to where and as whom to connect. Cached; equal look-ups under way wait for one another. Any
 * thread. */
#ifndef MYELIN_DISCOVERY_DISCOVERY_H
#define MYELIN_DISCOVERY_DISCOVERY_H

#include "lib/kit/http_client.h"
#include "proto/message.h"

struct discovery;
struct discovery_options {
    const struct settings *settings;
    struct http_client *http;
    const char *hosts_path;   /* NULL: /etc/hosts */
    int64_t (*wall_ms)(void); /* NULL: the real clock; caches live by it */
};

struct discovery *discovery_create(const struct discovery_options *options);
void discovery_destroy(struct discovery **discovery);

/* INVALID_PARAM: not a server name. PEER: there is no such server, or nobody can say; *why tells the steps that were taken.
 * DEADLINE. The reply lives as long as the arena. */
enum fault discovery_resolve(struct discovery *discovery, struct arena *arena, const struct resolve_request *request,
                             int64_t deadline_ms, struct resolve_reply *reply, struct slice *why);

#endif
