/* From a request to a place: which row of the route table, which worker, which lane, how long. Pure; any thread. */
#ifndef MYELIN_FRONTEND_ROUTER_H
#define MYELIN_FRONTEND_ROUTER_H

#include "lib/base/arena.h"
#include "lib/kit/settings.h"
#include "proto/fault.h"
#include "proto/route.h"

/* What a client asks, as slices of the request's memory: they live until the request is answered or gone. */
struct inquiry {
    struct slice method; /* HEAD reads as GET */
    struct slice target; /* path and query as sent */
    struct slice path;   /* without the query, as sent */
    struct slice query;  /* after '?'; absent if none */
    struct slice authorization, content_type, user_agent;
    struct slice body;
};

struct routed {
    const struct route *route;
    struct slice params[ROUTE_PARAMS_MAX]; /* decoded, in the arena */
    size_t param_count;
};

/* FAULT_UNRECOGNIZED (404), FAULT_WRONG_METHOD (405), or FAULT_OK. */
enum fault router_match(struct arena *arena, const struct inquiry *inquiry, struct routed *out);
/* Calls with equal lanes meet on one worker and run in order there. 0: any worker, no order. */
uint64_t router_lane(const struct routed *routed, const struct inquiry *inquiry);
/* How long a worker may take: request_timeout, and for long polls what the client asked for on top. */
int64_t router_timeout_ms(const struct route *route, const struct inquiry *inquiry, const struct settings *settings);
/* The access token of the Authorization header or the query (deprecated, but used); absent if none. */
struct slice inquiry_token(const struct inquiry *inquiry);
/* A query parameter's value, not decoded; absent if none. */
struct slice query_value(struct slice query, struct slice name);
/* Whether the path belongs on a listener restricted to clients or to other servers; well-known belongs on both. */
bool path_is_for_clients(struct slice path);
bool path_is_for_servers(struct slice path);

#endif
