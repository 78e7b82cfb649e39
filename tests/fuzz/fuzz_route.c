/* The first line of strangers' requests. Input: method, path and query on lines of their own. What matches is a row of the table,
 * its parameters are as many as the row has and not empty, and a query is taken apart the same way by name and as a list. */
#include "lib/base/ensure.h"
#include "lib/base/uri.h"
#include "lib/kit/call.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_path(struct arena *arena, struct slice method, struct slice path)
{
    struct slice params[ROUTE_PARAMS_MAX];
    size_t count = 0;
    bool known = false;
    const struct route *route = route_match(arena, method, path, params, &count, &known);
    ensure(!route || known);
    if (!route)
        return;
    ensure(slice_eq(method, slice_from_cstr(route_method_name(route->method))) && count <= ROUTE_PARAMS_MAX);
    ensure(route_find_key(route_key(route)) == route);
    for (size_t i = 0; i < count; i++)
        ensure(params[i].len > 0 && params[i].len <= path.len);
}

static void try_decoding(struct arena *arena, struct slice text)
{
    struct slice path = percent_decode(arena, text, false), query = percent_decode(arena, text, true);
    ensure(path.len <= text.len && query.len == path.len);
    ensure(slice_eq(percent_decode(arena, uri_encode(arena, text), false), text));
}

static void try_query(struct arena *arena, struct slice query)
{
    static const char *const names[] = {"from", "ver", "server_name", "ts", ""};
    struct http_request http = {.query = query};
    struct call call = {.arena = arena, .http = &http};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct slices all = call_query_all(&call, names[i]);
        struct slice first = call_query(&call, names[i]);
        int64_t number = 7;
        ensure(all.len ? slice_eq(all.at[0], first) : slice_is_absent(first));
        ensure(call_query_i64(&call, names[i], &number) || number == 7);
        call_query_bool(&call, names[i], false);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1 << 26);
    struct slice method, path = SLICE(""), query = SLICE(""), rest;
    if (slice_cut(slice_of(data, size), '\n', &method, &rest)) {
        if (!slice_cut(rest, '\n', &path, &query))
            path = rest;
        try_path(arena, method, path);
        try_decoding(arena, path);
        try_decoding(arena, query);
        try_query(arena, query);
    }
    arena_destroy(&arena);
    return 0;
}
