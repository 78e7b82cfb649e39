/* The route table does the matching (proto/route.c). What is added here: lanes, which need the request's headers, and deadlines.
 * Nothing here decides about access: an origin or a token is taken at its word to choose a worker, and the worker checks it. */
#include "frontend/router.h"

#include <stdlib.h>

enum { LONG_POLL_MAX_MS = 10 * 60 * 1000 };

enum fault router_match(struct arena *arena, const struct inquiry *inquiry, struct routed *out)
{
    bool path_known = false;
    out->param_count = 0;
    out->route = route_match(arena, inquiry->method, inquiry->path, out->params, &out->param_count, &path_known);
    if (out->route)
        return FAULT_OK;
    return path_known ? FAULT_WRONG_METHOD : FAULT_UNRECOGNIZED;
}

struct slice query_value(struct slice query, struct slice name)
{
    struct slice pair, key, value;
    while (query.len) {
        if (!slice_cut(query, '&', &pair, &query)) {
            pair = query;
            query = SLICE("");
        }
        if (slice_cut(pair, '=', &key, &value) && slice_eq(key, name))
            return value;
    }
    return SLICE_ABSENT;
}

/* "<scheme> <rest>", the scheme in any case. */
static bool has_scheme(struct slice authorization, struct slice scheme, struct slice *rest)
{
    struct slice word;
    if (!slice_cut(slice_trim(authorization), ' ', &word, rest) || !slice_eq_ignoring_case(word, scheme))
        return false;
    *rest = slice_trim(*rest);
    return true;
}

struct slice inquiry_token(const struct inquiry *inquiry)
{
    struct slice token;
    if (has_scheme(inquiry->authorization, SLICE("Bearer"), &token))
        return token;
    return query_value(inquiry->query, SLICE("access_token"));
}

/* origin=… of an X-Matrix header, without quotes. */
static struct slice inquiry_origin(const struct inquiry *inquiry)
{
    struct slice rest, field, key, value;
    if (!has_scheme(inquiry->authorization, SLICE("X-Matrix"), &rest))
        return SLICE_ABSENT;
    while (rest.len) {
        if (!slice_cut(rest, ',', &field, &rest)) {
            field = rest;
            rest = SLICE("");
        }
        if (!slice_cut(field, '=', &key, &value) || !slice_eq_ignoring_case(slice_trim(key), SLICE("origin")))
            continue;
        value = slice_trim(value);
        if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
            value = slice_sub(value, 1, value.len - 2);
        return value;
    }
    return SLICE_ABSENT;
}

uint64_t router_lane(const struct routed *routed, const struct inquiry *inquiry)
{
    struct slice key = SLICE_ABSENT;
    const char *lane = routed->route->lane;
    if (lane[0] == '\0') {
        return 0;
    } else if (lane[0] != '@') {
        int index = route_param_index(routed->route, lane);
        if (index >= 0 && (size_t)index < routed->param_count)
            key = routed->params[index];
    } else if (slice_eq(slice_from_cstr(lane), SLICE(LANE_ORIGIN))) {
        key = inquiry_origin(inquiry);
    } else {
        key = inquiry_token(inquiry);
    }
    return key.len ? slice_hash(key) : 0;
}

int64_t router_timeout_ms(const struct route *route, const struct inquiry *inquiry, const struct settings *settings)
{
    int64_t poll_ms = 0;
    if (route->rate == RATE_SYNC && !slice_to_i64(query_value(inquiry->query, SLICE("timeout")), &poll_ms))
        poll_ms = 0;
    if (poll_ms < 0)
        poll_ms = 0;
    if (poll_ms > LONG_POLL_MAX_MS)
        poll_ms = LONG_POLL_MAX_MS;
    return settings->request_timeout + poll_ms;
}

bool path_is_for_servers(struct slice path)
{
    return slice_starts_with(path, SLICE("/_matrix/federation/")) || slice_starts_with(path, SLICE("/_matrix/key/")) ||
           slice_starts_with(path, SLICE("/.well-known/"));
}

bool path_is_for_clients(struct slice path)
{
    return slice_starts_with(path, SLICE("/.well-known/")) || !path_is_for_servers(path);
}
