/* Requests to other servers; see peer_request.h. */
#include "workers/sender/peer_request.h"

#include "lib/base/clock.h"
#include "lib/kit/metrics.h"
#include "lib/kit/worker.h"
#include "lib/matrix/x_matrix.h"
#include "proto/stubs.h"
#include "workers/sender/address_book.h"

static struct http_client *client;
static struct metric *latency, *unreachable;

void peer_request_start(struct worker *worker)
{
    client = http_client_create(worker_settings(worker));
    latency = metric_histogram_ms("myelin_sender_request_milliseconds", "Requests to other servers that were answered", NULL);
    unreachable = metric_counter("myelin_sender_unreachable_total", "Requests to other servers that were not answered", NULL);
}

void peer_request_stop(void)
{
    http_client_destroy(&client);
}

/* The Authorization header (Server-Server API "Request Authentication"). */
static enum fault authorize(struct call *call, const struct peer_request *request, struct slice *authorization)
{
    struct slice payload =
        x_matrix_signing_bytes(call->arena, request->method, request->uri, server_name(), request->destination, request->content);
    if (slice_is_absent(payload)) {
        call->why = SLICE("the content is not JSON that can be signed");
        return FAULT_INVALID_PARAM;
    }
    struct sign_request sign = {.payloads = {&payload, 1}};
    struct sign_reply signature;
    enum fault fault = call_sign(call, SLICE_ABSENT, &sign, &signature);
    if (fault || signature.signatures.len != 1)
        return fault ? fault : FAULT_UNAVAILABLE;
    const struct x_matrix header = {.origin = server_name(),
                                    .destination = request->destination,
                                    .key_id = signature.key_id,
                                    .signature = signature.signatures.at[0]};
    *authorization = x_matrix_format(call->arena, &header);
    return FAULT_OK;
}

static enum fault try_addresses(struct call *call, const struct peer_request *request, const struct address_entry *where,
                                struct slice authorization, int64_t deadline_ms, struct http_answer *answer)
{
    enum fault fault = FAULT_PEER;
    for (size_t i = 0; i < where->count && fault == FAULT_PEER; i++) {
        const struct http_fetch fetch = {
            .method = request->method,
            .certificate_name = slice_from_cstr(where->certificate_name),
            .host_header = slice_from_cstr(where->host_header),
            .address = slice_from_cstr(where->addresses[i]),
            .port = where->ports[i],
            .uri = request->uri,
            .authorization = authorization,
            .content_type = slice_is_absent(request->content) ? SLICE_ABSENT : SLICE("application/json"),
            .body = request->content,
            .deadline_ms = deadline_ms,
            .size_max = request->size_max,
        };
        int64_t start_us = clock_monotonic_us();
        fault = http_fetch(client, call->arena, &fetch, answer);
        if (fault)
            call->why = slice_from_cstr(answer->error);
        else
            metric_observe_us(latency, clock_monotonic_us() - start_us);
    }
    return fault;
}

static enum fault send_signed(struct call *call, const struct peer_request *request, struct slice authorization,
                              int64_t deadline_ms, struct http_answer *answer)
{
    struct address_entry where, fresh;
    bool remembered;
    enum fault fault = address_book_get(call, request->destination, false, &where, &remembered);
    if (fault)
        return fault;
    fault = try_addresses(call, request, &where, authorization, deadline_ms, answer);
    if (fault != FAULT_PEER || address_book_get(call, request->destination, true, &fresh, &remembered) ||
        address_entry_same(&where, &fresh))
        return fault;
    return try_addresses(call, request, &fresh, authorization, deadline_ms, answer); /* it moved */
}

enum fault peer_request_send(struct call *call, const struct peer_request *request, struct http_answer *answer)
{
    struct slice authorization = SLICE_ABSENT;
    int64_t deadline_ms = clock_monotonic_ms() + request->timeout_ms;
    if (deadline_ms > call->deadline_ms)
        deadline_ms = call->deadline_ms;
    enum fault fault = request->sign ? authorize(call, request, &authorization) : FAULT_OK;
    if (!fault)
        fault = send_signed(call, request, authorization, deadline_ms, answer);
    if (fault)
        metric_add(unreachable, 1);
    return fault;
}
