/* Requests of other servers (Server-Server API "Request Authentication"): the X-Matrix header names the origin and signs method,
 * target, both servers and the body. The signature is verified by `keys`, which fetches the origin's keys when it must. */
#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/base/lru.h"
#include "lib/kit/crew.h"
#include "lib/matrix/ids.h"
#include "lib/matrix/x_matrix.h"

/* Names are free: anybody may send requests as servers whose keys can only be waited for. So of those who proved nothing lately
 * only some are looked into at the same time; the other threads are for servers that we know. */
enum { PROVEN_BYTES = 512 * 1024 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lru *proven; /* guarded by lock: server → anything */
static int unproven_running;

struct look { /* into one origin's keys */
    bool counts;
};

static void look_over(void *object)
{
    struct look *look = object;
    pthread_mutex_lock(&lock);
    unproven_running -= look->counts;
    look->counts = false;
    pthread_mutex_unlock(&lock);
}

/* False: too many unproven ones are being looked into. */
static bool look_begin(struct call *call, struct slice origin, struct look **out)
{
    struct look *look = *out = arena_new(call->arena, struct look);
    int unproven_max = crew_wanted(call->worker) / 4 > 0 ? crew_wanted(call->worker) / 4 : 1;
    arena_defer(call->arena, look_over, look); /* also when the call ends early */
    pthread_mutex_lock(&lock);
    if (!proven)
        proven = lru_create(PROVEN_BYTES, NULL);
    look->counts = !lru_get(proven, origin) && unproven_running < unproven_max;
    unproven_running += look->counts;
    bool begins = look->counts || lru_get(proven, origin);
    pthread_mutex_unlock(&lock);
    return begins;
}

static void note_proven(struct slice origin)
{
    pthread_mutex_lock(&lock);
    lru_put(proven, origin, &proven, 0);
    pthread_mutex_unlock(&lock);
}

static bool refuse(struct call *call, struct reply *refusal, const char *why)
{
    *refusal = call_fail(call, FAULT_UNAUTHORIZED, why);
    return false;
}

static enum fault verify(struct call *call, const struct x_matrix *header, struct slice signed_bytes, int64_t *result)
{
    int64_t now_ms = clock_wall_ms();
    struct verify_request request = {
        .servers = {&header->origin, 1},
        .key_ids = {&header->key_id, 1},
        .signatures = {&header->signature, 1},
        .messages = {&signed_bytes, 1},
        .valid_at = {&now_ms, 1},
        .requests = true,
    };
    struct verify_reply reply;
    enum fault fault = call_bus(call, message_find(MESSAGE_verify), header->origin, &request, &reply);
    if (!fault && reply.results.len != 1)
        fault = FAULT_VERSION_MISMATCH;
    if (!fault)
        *result = reply.results.at[0];
    return fault;
}

bool auth_server(struct call *call, struct reply *refusal)
{
    struct x_matrix header;
    const struct http_request *http = call->http;
    if (slice_is_absent(http->authorization))
        return refuse(call, refusal, "Missing Authorization header");
    if (!x_matrix_parse(call->arena, http->authorization, &header))
        return refuse(call, refusal, "The Authorization header is not a valid X-Matrix one");
    if (!server_name_is_valid(header.origin))
        return refuse(call, refusal, "The origin is not a server name");
    if (slice_eq(header.origin, server_name()))
        return refuse(call, refusal, "The origin is this server");
    if (!slice_is_absent(header.destination) && !slice_eq(header.destination, server_name()))
        return refuse(call, refusal, "The request is meant for another server");
    bool has_body = call->route->body == BODY_JSON && slice_trim(http->body).len;
    struct slice signed_bytes =
        x_matrix_signing_bytes(call->arena, slice_from_cstr(route_method_name(call->route->method)), http->target, header.origin,
                               server_name(), has_body ? http->body : SLICE_ABSENT);
    if (slice_is_absent(signed_bytes))
        return refuse(call, refusal, "The body cannot be signed: it is not canonical JSON");
    int64_t result = FAULT_OK;
    struct look *look;
    enum fault fault = look_begin(call, header.origin, &look) ? verify(call, &header, signed_bytes, &result) : FAULT_UNAVAILABLE;
    look_over(look);
    if (fault) {
        *refusal = call_fail(call, fault, NULL);
        return false;
    }
    if (result == FAULT_INVALID_SIGNATURE)
        return refuse(call, refusal, "The signature does not verify");
    if (result != FAULT_OK)
        return refuse(call, refusal, "The signing key could not be had");
    note_proven(header.origin);
    call->origin = header.origin;
    return true;
}
