/* Answers. Every error that a client sees is made here: {"errcode", "error"}, with what some of them must carry besides. */
#include <stdarg.h>
#include <stdio.h>

#include "lib/kit/call.h"

struct reply reply_json(struct json_writer *w)
{
    return reply_status(200, json_done(w));
}

struct reply reply_raw_json(struct slice json)
{
    return reply_status(200, json);
}

struct reply reply_empty(void)
{
    return reply_status(200, SLICE("{}"));
}

struct reply reply_status(int status, struct slice json)
{
    return (struct reply){.status = status, .body = json};
}

struct reply call_fail(struct call *call, enum fault fault, const char *detail)
{
    static const struct slice retry_after[] = {{"Retry-After", 11}, {"1", 1}};
    const struct fault_facts *facts = fault_facts(fault);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "errcode", facts->errcode);
    json_put_cstr(&w, "error", detail ? detail : facts->text);
    if (fault == FAULT_UNKNOWN_TOKEN)
        json_put_bool(&w, "soft_logout", false);
    if (fault == FAULT_LIMIT_EXCEEDED)
        json_put_i64(&w, "retry_after_ms", 1000);
    json_end_object(&w);
    struct reply reply = reply_status(facts->http_status, json_done(&w));
    if (facts->http_status == 503 || facts->http_status == 429) {
        reply.headers = retry_after;
        reply.header_count = 2;
    }
    call->detail = detail ? detail : facts->name;
    return reply;
}

struct reply call_failf(struct call *call, enum fault fault, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct slice whole = slice_of(text, length < 0 ? 0 : (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
    /* A cut may fall into a character, and what was formatted may come from others: a reply is UTF-8 in any case. */
    while (whole.len && !utf8_is_valid(whole))
        whole.len--;
    return call_fail(call, fault, arena_cstr(call->arena, whole));
}

static bool is_matrix_error(const struct json *body)
{
    return json_is(body, JSON_OBJECT) && slice_starts_with(json_get_string(body, "errcode"), SLICE("M_"));
}

struct reply call_fail_peer(struct call *call, int64_t peer_status, struct slice peer_body)
{
    const struct json *body = slice_is_absent(peer_body) ? NULL : json_parse(call->arena, peer_body, JSON_LAX, NULL);
    if (peer_status < 400 || peer_status > 499 || peer_status == 401 || !is_matrix_error(body))
        return call_failf(call, FAULT_PEER_REFUSED, "The other server refused with status %lld", (long long)peer_status);
    call->detail = arena_cstr(call->arena, json_get_string(body, "errcode"));
    return reply_status((int)peer_status, peer_body);
}
