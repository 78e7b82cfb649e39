/* An HTTP request's way to its handler: the route, who asks, the body; each step answers by itself when it says no. */
#include "lib/base/ensure.h"
#include "lib/kit/worker_internal.h"

/* Handlers put parameters into SQL text and JSON: neither takes bad UTF-8, and PostgreSQL no NUL. */
static bool text_is_fine(struct slice text)
{
    return utf8_is_valid(text) && !slice_has_nul(text);
}

static bool take_params(struct call *call, struct reply *refusal)
{
    const struct slices *params = &call->http->params;
    for (size_t i = 0; i < params->len && i < ROUTE_PARAMS_MAX; i++) {
        if (!text_is_fine(params->at[i])) {
            *refusal = call_fail(call, FAULT_INVALID_PARAM, "A path parameter is not text");
            return false;
        }
        call->params[i] = params->at[i];
    }
    return true;
}

static bool take_body(struct call *call, struct reply *refusal)
{
    static const struct json empty_object = {.type = JSON_OBJECT, .tidy = true, .span = {"{}", 2}};
    struct slice body = call->http->body;
    const char *why = "";
    if (body.len > call->route->body_cap) {
        *refusal = call_failf(call, FAULT_TOO_LARGE, "The body may have %u bytes at most", call->route->body_cap);
        return false;
    }
    call->json = &empty_object;
    if (call->route->body != BODY_JSON || slice_trim(body).len == 0)
        return true;
    call->json = json_parse(call->arena, body, JSON_LAX, &why);
    if (!call->json)
        *refusal = call_failf(call, FAULT_NOT_JSON, "The body is not JSON: %s", why);
    else if (!json_is(call->json, JSON_OBJECT))
        *refusal = call_fail(call, FAULT_BAD_JSON, "The body must be a JSON object");
    return call->json && json_is(call->json, JSON_OBJECT);
}

static bool check_auth(struct call *call, struct reply *refusal)
{
    switch (call->route->auth) {
    case AUTH_NONE:
        return true;
    case AUTH_SERVER:
        return auth_server(call, refusal);
    case AUTH_OPTIONAL:
    case AUTH_USER:
    case AUTH_GUEST:
    case AUTH_APPSERVICE:
    case AUTH_ADMIN:
        return auth_token(call, refusal);
    }
    ensure_failed("a known kind of authentication", __FILE__, __LINE__);
}

struct reply call_http_run(struct call *call, const struct http_request *request)
{
    struct reply refusal;
    call->http = request;
    /* A server signs its body, so that is read first; a user is asked who he is before anything else. */
    if (!call_query_is_text(call))
        return call_fail(call, FAULT_INVALID_PARAM, "The query is not text");
    bool body_first = call->route->auth == AUTH_SERVER;
    if (!take_params(call, &refusal) || (body_first && !take_body(call, &refusal)) || !check_auth(call, &refusal) ||
        (!body_first && !take_body(call, &refusal)))
        return refusal;
    return call->worker->route_handlers[call->route - routes](call);
}
