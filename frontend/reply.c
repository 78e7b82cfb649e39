/* From an answer to h2o_start_response and h2o_send. JSON above a kilobyte is compressed when the client likes that; long bodies
 * are handed over in pieces, so that compressing megabytes does not hold up the loop's other requests. */
#include "frontend/reply.h"

#include "frontend/access.h"
#include "frontend/cors.h"

#include <stdio.h>

enum { COMPRESS_FROM = 1024, PIECE = 128 * 1024 };

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {{200, "OK"},
                   {201, "Created"},
                   {202, "Accepted"},
                   {204, "No Content"},
                   {206, "Partial Content"},
                   {301, "Moved Permanently"},
                   {302, "Found"},
                   {304, "Not Modified"},
                   {307, "Temporary Redirect"},
                   {308, "Permanent Redirect"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {415, "Unsupported Media Type"},
                   {429, "Too Many Requests"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {502, "Bad Gateway"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"}};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Other";
}

static struct slice copied(h2o_req_t *req, struct slice s)
{
    return slice_of(h2o_strdup(&req->pool, s.at ? s.at : "", s.len).base, s.len);
}

static void add_header(h2o_req_t *req, struct slice name, struct slice value)
{
    h2o_add_header_by_str(&req->pool, &req->res.headers, name.at, name.len, 1, NULL, value.at, value.len);
}

static void send_piece(struct exchange *exchange)
{
    struct slice piece = slice_sub(exchange->body_rest, 0, PIECE);
    exchange->body_rest = slice_sub(exchange->body_rest, piece.len, SIZE_MAX);
    h2o_iovec_t buffer = h2o_iovec_init(piece.at, piece.len);
    h2o_send(exchange->req, &buffer, 1, exchange->body_rest.len ? H2O_SEND_STATE_IN_PROGRESS : H2O_SEND_STATE_FINAL);
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    send_piece(H2O_STRUCT_FROM_MEMBER(struct exchange, generator, generator));
}

/* Status, headers and body are set or known: off it goes. The body must live as long as the request. */
static void send_all(struct exchange *exchange, int status, struct slice content_type, struct slice body)
{
    h2o_req_t *req = exchange->req;
    bool bodiless = status == 204 || status == 304;
    exchange->status = req->res.status = status;
    req->res.reason = reason_of(status);
    req->res.content_length = bodiless ? SIZE_MAX : body.len;
    if (!bodiless)
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, content_type.at, content_type.len);
    if (exchange->is_cors)
        for (size_t i = 0; i < cors_header_count; i++)
            add_header(req, cors_headers[i].name, cors_headers[i].value);
    bool compress = body.len > COMPRESS_FROM && slice_starts_with(content_type, SLICE("application/json"));
    req->compress_hint = compress ? H2O_COMPRESS_HINT_ENABLE : H2O_COMPRESS_HINT_DISABLE;
    access_answered(exchange, status, body.len);

    exchange->generator = (h2o_generator_t){.proceed = on_proceed};
    h2o_start_response(req, &exchange->generator);
    if (exchange->is_head || bodiless || body.len == 0) {
        h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
        return;
    }
    exchange->body_rest = body;
    send_piece(exchange);
}

/* The worker says what it means; how it travels is our business. */
static bool is_ours(struct slice name)
{
    static const char *const names[] = {"content-length", "content-type", "connection", "transfer-encoding",
                                        "keep-alive",     "date",         "server"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (slice_eq_ignoring_case(name, slice_from_cstr(names[i])))
            return true;
    return false;
}

static bool is_header_safe(struct slice name, struct slice value)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.at[i] <= ' ' || name.at[i] == ':')
            return false;
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] == '\r' || value.at[i] == '\n' || value.at[i] == '\0')
            return false;
    return name.len > 0;
}

static void add_reply_headers(h2o_req_t *req, struct slices headers)
{
    for (size_t i = 0; i + 1 < headers.len; i += 2) {
        if (is_ours(headers.at[i]) || !is_header_safe(headers.at[i], headers.at[i + 1]))
            continue;
        h2o_iovec_t name = h2o_strdup(&req->pool, headers.at[i].at, headers.at[i].len);
        h2o_strtolower(name.base, name.len); /* HTTP/2 demands it */
        add_header(req, slice_of(name.base, name.len), copied(req, headers.at[i + 1]));
    }
}

void reply_http(struct exchange *exchange, const struct http_reply *reply)
{
    h2o_req_t *req = exchange->req;
    if (reply->status < 200 || reply->status > 599) {
        reply_fault(exchange, FAULT_INTERNAL, 0);
        return;
    }
    struct slice type = SLICE("application/json");
    if (!slice_is_absent(reply->content_type) && is_header_safe(SLICE("content-type"), reply->content_type))
        type = copied(req, reply->content_type);
    add_reply_headers(req, reply->headers);
    send_all(exchange, (int)reply->status, type, copied(req, reply->body));
}

void reply_json(struct exchange *exchange, int status, struct slice json)
{
    send_all(exchange, status, SLICE("application/json"), copied(exchange->req, json));
}

void reply_fault(struct exchange *exchange, enum fault fault, int64_t retry_after_ms)
{
    const struct fault_facts *facts = fault_facts(fault);
    char text[256], seconds[24];
    int len;
    if (fault == FAULT_UNAVAILABLE)
        retry_after_ms = 1000;
    if (retry_after_ms > 0) {
        int digits = snprintf(seconds, sizeof seconds, "%lld", (long long)((retry_after_ms + 999) / 1000));
        add_header(exchange->req, SLICE("retry-after"), copied(exchange->req, slice_of(seconds, (size_t)digits)));
    }
    if (fault == FAULT_LIMIT_EXCEEDED)
        len = snprintf(text, sizeof text, "{\"errcode\":\"%s\",\"error\":\"%s\",\"retry_after_ms\":%lld}", facts->errcode,
                       facts->text, (long long)retry_after_ms);
    else
        len = snprintf(text, sizeof text, "{\"errcode\":\"%s\",\"error\":\"%s\"}", facts->errcode, facts->text);
    reply_json(exchange, facts->http_status, slice_of(text, (size_t)len));
}

/* Max-Age spares browsers a second request for each first one. */
void reply_preflight(struct exchange *exchange)
{
    add_header(exchange->req, SLICE("access-control-max-age"), SLICE("86400"));
    send_all(exchange, 204, SLICE("application/json"), SLICE(""));
}

void reply_abandoned(struct exchange *exchange)
{
    send_all(exchange, 503, SLICE("application/json"), SLICE(""));
}
