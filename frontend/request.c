/* The steps, in order, each a possible end: doomed connection · ambiguous framing · preflight · listener · route · rate · size;
 * what passes is handed to a worker by exchange.c. */
#include "frontend/request.h"

#include "frontend/access.h"
#include "frontend/cors.h"
#include "frontend/exchange.h"
#include "frontend/reply.h"
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/keyed_hash.h"
#include "lib/base/log.h"

enum { COMPRESSION_LEVEL = 1 };

struct handler {
    h2o_handler_t super;
    enum listener_role role;
};

static struct slice from_iovec(h2o_iovec_t v)
{
    return slice_of(v.base, v.len);
}

static struct slice header(const h2o_req_t *req, const h2o_token_t *token)
{
    ssize_t at = h2o_find_header(&req->headers, token, -1);
    return at < 0 ? SLICE_ABSENT : from_iovec(req->headers.entries[at].value);
}

static struct slice header_named(const h2o_req_t *req, struct slice name)
{
    ssize_t at = h2o_find_header_by_str(&req->headers, name.at, name.len, -1);
    return at < 0 ? SLICE_ABSENT : from_iovec(req->headers.entries[at].value);
}

/* "http://host/path" → "/path": proxies' clients may send the absolute form, which h2o leaves as it is. */
static struct slice without_origin(struct slice target)
{
    size_t from = slice_starts_with(target, SLICE("http://")) ? 7 : slice_starts_with(target, SLICE("https://")) ? 8 : 0;
    if (from == 0)
        return target;
    while (from < target.len && target.at[from] != '/' && target.at[from] != '?')
        from++;
    return from == target.len ? SLICE("/") : slice_sub(target, from, SIZE_MAX);
}

/* Raw, as sent: h2o's normalised path decodes %2F, which room ids may contain, and X-Matrix signs the raw bytes. */
static void read_inquiry(struct exchange *exchange)
{
    const h2o_req_t *req = exchange->req;
    struct inquiry *inquiry = &exchange->inquiry;
    inquiry->method = from_iovec(req->method);
    exchange->is_head = slice_eq(inquiry->method, SLICE("HEAD"));
    if (exchange->is_head)
        inquiry->method = SLICE("GET");
    inquiry->target = without_origin(from_iovec(req->path));
    inquiry->query = SLICE_ABSENT;
    if (!slice_cut(inquiry->target, '?', &inquiry->path, &inquiry->query))
        inquiry->path = inquiry->target;
    inquiry->authorization = header(req, H2O_TOKEN_AUTHORIZATION);
    inquiry->content_type = header(req, H2O_TOKEN_CONTENT_TYPE);
    inquiry->user_agent = header(req, H2O_TOKEN_USER_AGENT);
    inquiry->body = from_iovec(req->entity);
    exchange->is_cors = cors_applies(inquiry->path);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* W3C trace context: 00-<32 hex>-<16 hex>-<2 hex>. Anything else gets a number of our own. */
static void read_trace(struct exchange *exchange)
{
    struct slice parent = header_named(exchange->req, SLICE("traceparent"));
    bool valid = parent.len >= 55 && parent.at[2] == '-' && parent.at[35] == '-';
    unsigned char any = 0;
    for (int i = 0; valid && i < 16; i++) {
        int high = hex_digit(parent.at[3 + 2 * i]), low = hex_digit(parent.at[4 + 2 * i]);
        valid = high >= 0 && low >= 0;
        exchange->trace[i] = valid ? (unsigned char)(high << 4 | low) : 0;
        any |= exchange->trace[i];
    }
    if (valid && any)
        return;
    uint64_t numbers[2] = {loop_random(exchange->loop), loop_random(exchange->loop)};
    memcpy(exchange->trace, numbers, sizeof exchange->trace);
}

static void read_address(struct exchange *exchange)
{
    address_of_client(exchange->loop->trusted, &exchange->client->address, header(exchange->req, H2O_TOKEN_X_FORWARDED_FOR),
                      &exchange->address);
}

static enum fault find_route(struct exchange *exchange, enum listener_role role, struct routed *routed)
{
    struct slice path = exchange->inquiry.path;
    if (exchange->loop->settings->restrict_listeners &&
        !(role == LISTENER_CLIENT ? path_is_for_clients(path) : path_is_for_servers(path)))
        return FAULT_UNRECOGNIZED;
    arena_reset(exchange->loop->outbound);
    enum fault fault = router_match(exchange->loop->outbound, &exchange->inquiry, routed);
    exchange->route = fault ? NULL : routed->route;
    return fault;
}

/* 0: within the limits. */
static int64_t wait_ms(const struct exchange *exchange)
{
    if (!exchange->loop->settings->rate_limits)
        return 0;
    struct slice token = inquiry_token(&exchange->inquiry);
    return limits_take(exchange->loop->front->limits, exchange->route->rate, exchange->address.key,
                       token.len ? slice_hash_keyed(token) : 0, exchange->started_us);
}

static bool is_too_large(const struct exchange *exchange)
{
    return exchange->inquiry.body.len > exchange->route->body_cap;
}

static int on_request(h2o_handler_t *self, h2o_req_t *req)
{
    struct loop *loop = H2O_STRUCT_FROM_MEMBER(struct loop, context, req->conn->ctx);
    struct exchange *exchange = exchange_create(loop, req);
    struct routed routed;
    enum fault fault;
    int64_t retry_ms;
    const char *ambiguous;

    client_finished_body(exchange->client, req);
    read_inquiry(exchange);
    read_trace(exchange);
    read_address(exchange);
    access_began(exchange);
    if (exchange->client->doomed) {
        reply_abandoned(exchange);
    } else if ((ambiguous = guards_framing_error(req))) {
        log_event(LOG_DEBUG, "request refused", LOG_CSTR("why", ambiguous), LOG_CSTR("address", exchange->address.text));
        req->http1_is_persistent = 0; /* where the next request begins is not known */
        reply_fault(exchange, FAULT_UNKNOWN, 0);
    } else if (slice_eq(exchange->inquiry.method, SLICE("OPTIONS")) && exchange->is_cors) {
        reply_preflight(exchange);
    } else if ((fault = find_route(exchange, ((struct handler *)self)->role, &routed))) {
        reply_fault(exchange, fault, 0);
    } else if ((retry_ms = wait_ms(exchange))) {
        reply_fault(exchange, FAULT_LIMIT_EXCEEDED, retry_ms);
    } else if (is_too_large(exchange)) {
        reply_fault(exchange, FAULT_TOO_LARGE, 0);
    } else {
        exchange_start(exchange, &routed);
    }
    return 0;
}

/* A host of h2o is what tells listeners apart: each accepted connection is bound to the one of its listener's role. */
void request_register(struct front *front)
{
    static const char *const names[LISTENER_ROLES] = {[LISTENER_CLIENT] = "client", [LISTENER_FEDERATION] = "federation"};
    h2o_compress_args_t compress = {.min_size = 0, .gzip.quality = COMPRESSION_LEVEL, .brotli.quality = -1};
    for (int role = 0; role < LISTENER_ROLES; role++) {
        h2o_hostconf_t *host = h2o_config_register_host(&front->config, h2o_iovec_init(names[role], strlen(names[role])), 65535);
        ensure(host);
        h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
        struct handler *handler = (struct handler *)h2o_create_handler(path, sizeof *handler);
        handler->super.on_req = on_request;
        handler->role = role;
        h2o_compress_register(path, &compress);
        front->hosts[role][0] = host;
        front->hosts[role][1] = NULL;
    }
}
