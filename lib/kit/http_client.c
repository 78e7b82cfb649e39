/* The blocking API: one fetch, its redirects, its metrics. See http_client.h. */
#include "lib/kit/http_client_internal.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/http_url.h"
#include "lib/kit/wait.h"

#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    ensure(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
}

struct http_client *http_client_create(const struct settings *settings)
{
    static const char *const labels[FETCH_OUTCOMES] = {"outcome=\"ok\"", "outcome=\"peer\"", "outcome=\"deadline\"",
                                                       "outcome=\"too_large\"", "outcome=\"blocked\""};
    pthread_once(&once, start_curl);
    struct http_client *client = calloc(1, sizeof *client);
    ensure(client);
    client->ca_file = settings->federation_ca_file;
    client->verify = settings->federation_verify;
    client->allow_private = settings->federation_allow_private;
    client->engine = engine_create(client);
    for (int i = 0; i < FETCH_OUTCOMES; i++)
        client->fetches[i] =
            metric_counter("myelin_http_fetches_total", "Outbound HTTPS requests, redirects counted one by one", labels[i]);
    client->latency =
        metric_histogram_ms("myelin_http_fetch_milliseconds", "Outbound HTTPS requests, from asking to the last byte", NULL);
    if (!client->verify)
        log_event(LOG_WARN,
                  "CERTIFICATES OF OTHER SERVERS ARE NOT CHECKED (federation_verify: false): anybody on the way can read and "
                  "forge what we exchange with them. For laboratories only.");
    return client;
}

void http_client_destroy(struct http_client **client)
{
    if (!*client)
        return;
    engine_destroy(&(*client)->engine);
    free(*client);
    *client = NULL;
}

static enum fetch_outcome outcome_of(enum fault fault, const struct http_answer *answer)
{
    switch (fault) {
    case FAULT_OK:
        return FETCH_OK;
    case FAULT_DEADLINE:
        return FETCH_DEADLINE;
    case FAULT_TOO_LARGE:
        return FETCH_TOO_LARGE;
    default:
        return answer->blocked ? FETCH_BLOCKED : FETCH_PEER;
    }
}

static enum fault fetch_once(struct http_client *client, struct arena *arena, const struct http_fetch *request,
                             struct http_answer *answer)
{
    *answer = (struct http_answer){.status = 0};
    int64_t start_us = clock_monotonic_us();
    if (start_us / 1000 >= request->deadline_ms) {
        answer->error = "no time left";
        return FAULT_DEADLINE;
    }
    struct transfer *transfer = transfer_create(client, arena, request, &answer->error);
    if (!transfer)
        return FAULT_PEER;
    wait_begin("http", request->certificate_name);
    engine_run(client->engine, transfer);
    enum fault fault = transfer_answer(transfer, arena, request->deadline_ms, answer);
    wait_end();
    metric_add(client->fetches[outcome_of(fault, answer)], 1);
    metric_observe_us(client->latency, clock_monotonic_us() - start_us);
    return fault;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The next hop. 307 and 308 repeat the request as it was, the others ask with GET; credentials stay with the host they are for.
 * False: there is nowhere to go. */
static bool redirect(struct arena *arena, struct http_fetch *request, const struct http_answer *answer)
{
    struct http_url url;
    struct slice here = http_url_write(arena, request->certificate_name, request->port, request->uri);
    if (slice_is_absent(answer->location) || !http_url_parse(arena, here, answer->location, &url))
        return false;
    bool is_same_host = slice_eq_ignoring_case(url.host, request->certificate_name) && url.port == request->port;
    if (!is_same_host) {
        request->address = SLICE_ABSENT;
        request->authorization = SLICE_ABSENT;
        request->certificate_name = url.host;
        request->host_header = url.host_header;
        request->port = url.port;
    }
    request->uri = url.uri;
    if (answer->status != 307 && answer->status != 308 && !slice_eq(request->method, SLICE("HEAD"))) {
        request->method = SLICE("GET");
        request->body = request->content_type = SLICE_ABSENT;
    }
    return true;
}

enum fault http_fetch(struct http_client *client, struct arena *arena, const struct http_fetch *request, struct http_answer *answer)
{
    struct http_fetch hop = *request;
    for (int left = request->redirects_max;; left--) {
        enum fault fault = fetch_once(client, arena, &hop, answer);
        if (fault || !is_redirect(answer->status) || request->redirects_max <= 0)
            return fault;
        if (left == 0) {
            answer->error = "too many redirects";
            return FAULT_PEER;
        }
        if (!redirect(arena, &hop, answer)) {
            answer->error = "a redirect leads nowhere we go";
            return FAULT_PEER;
        }
    }
}
