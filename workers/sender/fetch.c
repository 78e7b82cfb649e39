/* message fetch: one request to another server, now. A server that is known to fail is left alone unless a person waits. */
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "workers/sender/destination.h"
#include "workers/sender/peer_request.h"
#include "workers/sender/pool.h"
#include "workers/sender/queries.h"

enum { TIMEOUT_MS = 30000, SIZE_MAX_BYTES = 64 * 1024 * 1024, SLOW_MS = 10000 };

/* The table knows more than we when another worker owns the server's slot. Once is enough: our own attempts teach us the rest. */
static void learn_backoff(struct call *call, struct slice server)
{
    destinations_lock();
    bool known = destination_get(server)->backoff_known;
    destinations_unlock();
    if (known)
        return;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_backoff_of(batch, server);
    struct backoff_of_row row = {0};
    if (db_run(batch))
        return; /* it is tried, then */
    bool found = backoff_of_next(result, &row);
    destinations_lock();
    struct destination *destination = destination_get(server);
    if (!destination->backoff_known && found)
        destination->backoff = (struct backoff){row.failing_since_ts, row.retry_ts, row.backoff_ms};
    destination->backoff_known = true;
    destinations_unlock();
}

static bool must_wait(struct slice server)
{
    destinations_lock();
    bool waits = backoff_is_waiting(&destination_get(server)->backoff, clock_wall_ms());
    destinations_unlock();
    return waits;
}

/* Only in memory: a row in the table is for servers that are owed something, not for every name that somebody mistyped. */
static void note(struct slice server, bool answered)
{
    uint64_t random = 0;
    if (!answered && getrandom(&random, sizeof random, 0) < 0)
        random = 0;
    destinations_lock();
    struct destination *destination = destination_get(server);
    destination->is_proven |= answered;
    if (!answered) {
        backoff_fail(&destination->backoff, clock_wall_ms(), random);
    } else if (backoff_is_failing(&destination->backoff)) {
        backoff_wake(&destination->backoff); /* the next transaction clears the rest */
        if (!destination->has_row)
            backoff_clear(&destination->backoff);
        pool_poke(destination);
    }
    destinations_unlock();
}

enum fault answer_fetch(struct call *call, const struct fetch_request *request, struct fetch_reply *reply)
{
    struct slice server = request->destination;
    if (!server_name_is_valid(server) || slice_eq(server, server_name()) || !slice_starts_with(request->uri, SLICE("/"))) {
        call->why = SLICE("destination must be another server's name, uri a path");
        return FAULT_INVALID_PARAM;
    }
    if (!request->ignore_backoff) {
        learn_backoff(call, server);
        if (must_wait(server)) {
            call->why = SLICE("it failed before and is left alone for a while");
            return FAULT_PEER;
        }
    }
    const struct peer_request peer = {
        .destination = server,
        .method = request->method,
        .uri = request->uri,
        .content = request->content,
        .sign = request->sign,
        .timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : TIMEOUT_MS,
        .size_max = request->size_max > 0 ? request->size_max : SIZE_MAX_BYTES,
    };
    struct http_answer answer = {0};
    int64_t start_ms = clock_monotonic_ms();
    enum fault fault = peer_request_send(call, &peer, &answer);
    /* A caller in a hurry says nothing about the server. */
    if (fault == FAULT_PEER || (fault == FAULT_DEADLINE && clock_monotonic_ms() >= start_ms + SLOW_MS))
        note(server, false);
    else if (!fault)
        note(server, true);
    if (fault)
        return fault == FAULT_DEADLINE ? FAULT_PEER : fault;
    reply->status = answer.status;
    reply->content_type = answer.content_type;
    reply->body = slice_is_absent(answer.body) ? SLICE("") : answer.body;
    return FAULT_OK;
}
