/* The endpoints, from routes.def: one row each. The frontend matches and routes by it, workers dispatch by it, tests and metrics
 * are made from it. */
#ifndef MYELIN_PROTO_ROUTE_H
#define MYELIN_PROTO_ROUTE_H

#include "lib/base/slice.h"
#include "proto/service.h"

enum {
    ROUTE_PARAMS_MAX = 6,
};

enum http_method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_COUNT };

/* Checked by the kit before the handler runs. */
enum route_auth {
    AUTH_NONE,
    AUTH_OPTIONAL,   /* a token is used when there is one: then call->requester is filled */
    AUTH_USER,       /* guests are refused */
    AUTH_GUEST,      /* users and guests */
    AUTH_SERVER,     /* X-Matrix signature */
    AUTH_APPSERVICE, /* as_token only */
    AUTH_ADMIN,      /* a user who is server admin */
};

enum route_rate { RATE_NONE, RATE_READ, RATE_SEND, RATE_LOGIN, RATE_REGISTER, RATE_JOIN, RATE_SYNC, RATE_FEDERATION, RATE_COUNT };

/* What the body must be before the handler runs. */
enum route_body { BODY_NONE, BODY_JSON /* an object, call->json; an empty body reads as {} */, BODY_RAW };

/* What decides the worker and the lane: a path parameter's name, or one of these. */
#define LANE_ANY ""           /* any live worker, no order */
#define LANE_USER "@user"     /* hash of the access token: all of a device's calls meet */
#define LANE_ORIGIN "@origin" /* X-Matrix origin */

struct route {
    enum http_method method;
    const char *path; /* "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}"; a last "{name*}" takes the rest */
    enum route_auth auth;
    enum route_rate rate;
    enum route_body body;
    uint32_t body_cap; /* bytes */
    enum service kind;
    const char *handler; /* its C name, for logs and metrics */
    const char *lane;
    const char *reference; /* spec section */
};

extern const struct route routes[];
extern const size_t route_count;

const char *route_method_name(enum http_method method);             /* "GET" */
bool route_is_repeatable(const struct route *route);                /* GET, with a {txnId}, or a row of repeatable.def */
uint64_t route_key(const struct route *route);                      /* stable hash of method and path */
const struct route *route_find_key(uint64_t key);                   /* NULL when unknown */
int route_param_index(const struct route *route, const char *name); /* −1 when it has none of that name */
/* Percent-decoded path parameters in the arena. *params_out has ROUTE_PARAMS_MAX places. NULL: no such path; then
 * *path_known says whether another method exists there (405). raw_path: without the query, as sent. */
struct arena;
const struct route *route_match(struct arena *arena, struct slice method, struct slice raw_path, struct slice *params_out,
                                size_t *param_count, bool *path_known);
/* "%41" is "A"; a lone % stays as it is. plus_is_blank: in queries. Borrowed when there is nothing to decode. */
struct slice percent_decode(struct arena *arena, struct slice text, bool plus_is_blank);

#endif
