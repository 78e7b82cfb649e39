/* The route table and its matcher: a tree of path segments, made once from routes.def. In each node a literal segment is tried
 * before a parameter, and a parameter before "{name*}", which takes the rest; when a branch fails further down, the next is tried.
 * Literals are compared decoded, so that no way of writing a path goes past its row. A segment must not be empty to fill a
 * parameter: "/state/{eventType}/" and "/state/{eventType}/{stateKey}" stay apart. */
#include "proto/route.h"

#include <pthread.h>

#include "lib/base/arena.h"
#include "lib/base/ensure.h"

/* ---- the table */

#define ROUTE(method_, path_, auth_, rate_, body_, body_cap_, kind_, handler_, lane_, reference_) \
    {.method = METHOD_##method_, \
     .path = path_, \
     .auth = AUTH_##auth_, \
     .rate = RATE_##rate_, \
     .body = BODY_##body_, \
     .body_cap = body_cap_, \
     .kind = SERVICE_##kind_, \
     .handler = #handler_, \
     .lane = lane_, \
     .reference = reference_, \
     .idempotent = METHOD_##method_ == METHOD_GET || METHOD_##method_ == METHOD_PUT},
const struct route routes[] = {
#include "proto/routes.def"
};
#undef ROUTE
const size_t route_count = sizeof routes / sizeof routes[0];
enum { ROUTES_AT_MOST = sizeof routes / sizeof routes[0], INDEX_SIZE = 4096, SEGMENTS_MAX = 24 };
_Static_assert(INDEX_SIZE >= 4 * ROUTES_AT_MOST, "make the index larger");

static const char *const method_names[METHOD_COUNT] = {"GET", "POST", "PUT", "DELETE"};

struct node {
    struct slice literal;  /* what this segment must be; absent for a parameter */
    struct node *children; /* literals */
    struct node *next;     /* sibling */
    struct node *parameter, *rest;
    int route[METHOD_COUNT]; /* index + 1 of the routes that end here */
};

static struct node root;
static struct arena *tree_memory;
static uint64_t keys[ROUTES_AT_MOST];
static uint16_t key_index[INDEX_SIZE]; /* open addressing: index + 1 */
static pthread_once_t made_once = PTHREAD_ONCE_INIT;

static bool is_parameter(struct slice segment)
{
    return segment.len > 2 && segment.at[0] == '{' && segment.at[segment.len - 1] == '}';
}

static bool is_rest(struct slice segment)
{
    return is_parameter(segment) && segment.at[segment.len - 2] == '*';
}

/* "/a/b" is walked as "a", "b"; "/a/" as "a", "". */
static struct slice next_segment(struct slice *rest, bool *last)
{
    struct slice head = *rest, tail = SLICE("");
    *last = !slice_cut(*rest, '/', &head, &tail);
    *rest = tail;
    return head;
}

static struct node *child_for(struct node *node, struct slice segment)
{
    if (is_rest(segment)) {
        if (!node->rest)
            node->rest = arena_new(tree_memory, struct node);
        return node->rest;
    }
    if (is_parameter(segment)) {
        if (!node->parameter)
            node->parameter = arena_new(tree_memory, struct node);
        return node->parameter;
    }
    struct node **link = &node->children;
    for (; *link; link = &(*link)->next) {
        if (slice_eq((*link)->literal, segment))
            return *link;
    }
    *link = arena_new(tree_memory, struct node);
    (*link)->literal = segment;
    return *link;
}

static uint64_t compute_key(const struct route *route)
{
    char text[512];
    size_t method = strlen(method_names[route->method]), path = strlen(route->path);
    ensure(method + path <= sizeof text);
    memcpy(text, method_names[route->method], method);
    memcpy(text + method, route->path, path);
    return slice_hash(slice_of(text, method + path));
}

static void make_tree(void)
{
    tree_memory = arena_create(16 * 1024 * 1024);
    for (size_t i = 0; i < route_count; i++) {
        struct slice rest = slice_from_cstr(routes[i].path + 1);
        struct node *node = &root;
        for (bool last = false; !last;)
            node = child_for(node, next_segment(&rest, &last));
        ensure(!node->route[routes[i].method]); /* each row is unique */
        node->route[routes[i].method] = (int)i + 1;
        keys[i] = compute_key(&routes[i]);
        size_t at = keys[i] % INDEX_SIZE;
        while (key_index[at])
            at = (at + 1) % INDEX_SIZE;
        key_index[at] = (uint16_t)(i + 1);
    }
}

/* ---- look-ups */

const char *route_method_name(enum http_method method)
{
    return method_names[method];
}

uint64_t route_key(const struct route *route)
{
    pthread_once(&made_once, make_tree);
    return keys[route - routes];
}

const struct route *route_find_key(uint64_t key)
{
    pthread_once(&made_once, make_tree);
    for (size_t at = key % INDEX_SIZE; key_index[at]; at = (at + 1) % INDEX_SIZE) {
        if (keys[key_index[at] - 1] == key)
            return &routes[key_index[at] - 1];
    }
    return NULL;
}

int route_param_index(const struct route *route, const char *name)
{
    struct slice rest = slice_from_cstr(route->path + 1), wanted = slice_from_cstr(name);
    int index = 0;
    for (bool last = false; !last;) {
        struct slice segment = next_segment(&rest, &last);
        if (!is_parameter(segment))
            continue;
        if (slice_eq(slice_sub(segment, 1, segment.len - (is_rest(segment) ? 3 : 2)), wanted))
            return index;
        index++;
    }
    return -1;
}

/* ---- matching */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at *at, percent-decoded; *at moves behind it. */
static char take_byte(struct slice text, size_t *at)
{
    int high = *at + 2 < text.len && text.at[*at] == '%' ? hex_digit(text.at[*at + 1]) : -1;
    int low = high >= 0 ? hex_digit(text.at[*at + 2]) : -1;
    char byte = low >= 0 ? (char)(high << 4 | low) : text.at[*at];
    *at += low >= 0 ? 3 : 1;
    return byte;
}

/* "%6D.room.member" is m.room.member: however a path is written, it takes the same way. */
static bool segment_is(struct slice segment, struct slice literal)
{
    if (!segment.len || !memchr(segment.at, '%', segment.len))
        return slice_eq(segment, literal);
    size_t at = 0, matched = 0;
    while (at < segment.len && matched < literal.len && take_byte(segment, &at) == literal.at[matched])
        matched++;
    return at == segment.len && matched == literal.len;
}

struct walk {
    int method; /* −1: a method that no route has */
    bool path_known;
    struct slice found[ROUTE_PARAMS_MAX];
};

static const struct route *route_here(const struct node *node, struct walk *walk)
{
    for (int method = 0; method < METHOD_COUNT; method++)
        walk->path_known |= node->route[method] != 0;
    int index = walk->method >= 0 ? node->route[walk->method] : 0;
    return index ? &routes[index - 1] : NULL;
}

static const struct route *walk_from(const struct node *node, struct slice rest, bool ended, size_t params, int depth,
                                     struct walk *walk)
{
    if (ended)
        return route_here(node, walk);
    if (depth > SEGMENTS_MAX)
        return NULL;
    const struct route *route = NULL;
    struct slice whole = rest;
    bool last;
    struct slice segment = next_segment(&rest, &last);
    for (const struct node *child = node->children; child && !route; child = child->next) {
        if (segment_is(segment, child->literal))
            route = walk_from(child, rest, last, params, depth + 1, walk);
    }
    if (!route && node->parameter && segment.len && params < ROUTE_PARAMS_MAX) {
        walk->found[params] = segment;
        route = walk_from(node->parameter, rest, last, params + 1, depth + 1, walk);
    }
    if (!route && node->rest && whole.len && params < ROUTE_PARAMS_MAX) {
        walk->found[params] = whole;
        route = route_here(node->rest, walk);
    }
    return route;
}

struct slice percent_decode(struct arena *arena, struct slice text, bool plus_is_blank)
{
    if (!text.len || (!memchr(text.at, '%', text.len) && !(plus_is_blank && memchr(text.at, '+', text.len))))
        return text;
    char *out = arena_alloc_raw(arena, text.len);
    size_t len = 0;
    for (size_t i = 0; i < text.len;) {
        bool is_blank = text.at[i] == '+' && plus_is_blank;
        char byte = take_byte(text, &i);
        out[len++] = is_blank ? ' ' : byte;
    }
    return slice_of(out, len);
}

static size_t param_total(const struct route *route)
{
    size_t count = 0;
    for (const char *c = route->path; *c; c++)
        count += *c == '{';
    return count;
}

const struct route *route_match(struct arena *arena, struct slice method, struct slice raw_path, struct slice *params_out,
                                size_t *param_count, bool *path_known)
{
    /* r0 is what v3 was called before; old clients and libraries still say it. */
    static const struct slice old = {"/_matrix/client/r0/", 19}, now = {"/_matrix/client/v3/", 19};
    pthread_once(&made_once, make_tree);
    if (slice_starts_with(raw_path, old))
        raw_path = arena_concat(arena, (struct slice[]){now, slice_sub(raw_path, old.len, SIZE_MAX)}, 2);
    struct walk walk = {.method = -1};
    for (int i = 0; i < METHOD_COUNT; i++) {
        if (slice_eq(method, slice_from_cstr(method_names[i])))
            walk.method = i;
    }
    const struct route *route = NULL;
    if (raw_path.len && raw_path.at[0] == '/')
        route = walk_from(&root, slice_sub(raw_path, 1, SIZE_MAX), false, 0, 0, &walk);
    *path_known = walk.path_known;
    if (!route)
        return NULL;
    *param_count = param_total(route);
    for (size_t i = 0; i < *param_count; i++)
        params_out[i] = percent_decode(arena, walk.found[i], false);
    return route;
}
