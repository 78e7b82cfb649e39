/* PUT /_matrix/federation/v1/send/{txnId} (Server-Server API "Transactions"): one at a time for each destination. What went wrong
 * is tried again with the same id and body; after a while, or when it is large, only owed_pos is kept and a new one is made. An EDU
 * row is deleted, a saved owed_pos forgotten, only after the destination answered well: a crash in between sends twice, which
 * receivers notice by event ids and message ids. */
#include "workers/sender/delivery.h"

#include <stdlib.h>
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/metrics.h"
#include "lib/kit/worker.h"
#include "workers/sender/catch_up.h"
#include "workers/sender/distributor.h"
#include "workers/sender/peer_request.h"
#include "workers/sender/pool.h"
#include "workers/sender/queries.h"

enum {
    SEND_WITHIN_MS = 30000,
    PROBE_WITHIN_MS = 10000,
    ANSWER_BYTES_MAX = 1024 * 1024,
    DATABASE_AWAY_MS = 1000,
    ERRORS_LOGGED = 10
};

static atomic_uint_fast64_t transaction_count;
static struct metric *transactions_sent, *transactions_failed, *pdus_sent, *edus_sent, *pdus_refused, *latency;

void delivery_start(struct worker *worker)
{
    const char *what = "Transactions to other servers";
    transactions_sent = metric_counter("myelin_sender_transactions_total", what, "result=\"sent\"");
    transactions_failed = metric_counter("myelin_sender_transactions_total", what, "result=\"failed\"");
    pdus_sent = metric_counter("myelin_sender_pdus_total", "Events delivered, once for each server", NULL);
    edus_sent = metric_counter("myelin_sender_edus_total", "EDUs delivered", NULL);
    pdus_refused = metric_counter("myelin_sender_pdus_refused_total", "Events that a server called failed", NULL);
    latency = metric_histogram_ms("myelin_sender_delivery_milliseconds",
                                  "From hearing of a local event to the other server's answer", NULL);
}

/* ---- making a transaction */

struct parts {
    struct slice pdus[TRANSACTION_PDUS_MAX], edus[TRANSACTION_EDUS_MAX];
    size_t pdu_count, edu_count;
};

static void release_pdu(void *object)
{
    pdu_release(object);
}

/* The oldest of the queue; they stay in it until they are delivered. */
static void take_queue(struct call *call, struct destination *destination, struct flight *flight, struct parts *parts)
{
    struct pdu *pdus[TRANSACTION_PDUS_MAX];
    size_t count = 0;
    destinations_lock();
    for (; count < destination_pdus_max(destination) && count < destination->queue_count; count++)
        pdus[count] = pdu_hold(destination->queue[count]);
    destinations_unlock();
    for (size_t i = 0; i < count; i++) {
        arena_defer(call->arena, release_pdu, pdus[i]);
        flight->nids[i] = pdus[i]->nid;
        if (!flight->min_pos || pdus[i]->pos < flight->min_pos)
            flight->min_pos = pdus[i]->pos;
        parts->pdus[i] = slice_of(pdus[i]->json, pdus[i]->len);
    }
    flight->nid_count = parts->pdu_count = count;
    flight->heard_us = count ? pdus[0]->heard_us : 0;
}

/* EDUs that must arrive: rows, most important first. */
static enum fault take_outbox(struct call *call, struct destination *destination, struct flight *flight, struct parts *parts)
{
    destinations_lock();
    size_t max = destination_edus_max(destination, parts->pdu_count);
    bool wanted = max && destination->has_outbox && distributor_owns(destination->slot);
    if (!max) {
        destinations_unlock();
        return FAULT_OK;
    }
    destination->has_outbox = false; /* what comes from now on sets it again */
    destinations_unlock();
    if (!wanted)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_outbox_page(batch, destination->server, (int64_t)max);
    enum fault fault = db_run(batch);
    struct outbox_page_row row;
    while (!fault && outbox_page_next(result, &row)) {
        flight->edu_nids[flight->edu_row_count++] = row.edu_nid;
        parts->edus[parts->edu_count++] = edu_json(call->arena, row.type, row.content);
    }
    destinations_lock();
    destination->has_outbox |= fault || parts->edu_count == max;
    destinations_unlock();
    return fault;
}

static void take_edus(struct call *call, struct destination *destination, struct parts *parts)
{
    struct edu_queue taken = {0};
    struct slice *out = parts->edus + parts->edu_count;
    destinations_lock();
    size_t allowed = destination_edus_max(destination, parts->pdu_count);
    size_t max = allowed > parts->edu_count ? allowed - parts->edu_count : 0;
    if (destination->edus.count <= max) { /* the usual case: all of them, and the JSON is made without the lock */
        taken = destination->edus;
        destination->edus = (struct edu_queue){0};
    } else {
        edu_queue_split(&destination->edus, max, &taken);
    }
    destinations_unlock();
    parts->edu_count += edu_queue_take(&taken, call->arena, max, out);
}

static struct flight *make_flight(struct call *call, struct destination *destination)
{
    struct flight *flight = calloc(1, sizeof *flight);
    ensure(flight);
    struct parts *parts = arena_new(call->arena, struct parts);
    size_t count;
    enum fault fault = catch_up(call, destination, flight, parts->pdus, &count);
    parts->pdu_count = count;
    if (!fault && !count)
        take_queue(call, destination, flight, parts);
    if (!fault)
        fault = take_outbox(call, destination, flight, parts);
    if (fault) {
        destinations_lock();
        destination->idle_until_ms = clock_monotonic_ms() + DATABASE_AWAY_MS;
        destinations_unlock();
    }
    take_edus(call, destination, parts);
    if (!parts->pdu_count && !parts->edu_count) {
        flight_destroy(&flight);
        return NULL;
    }
    struct slice body =
        transaction_body(call->arena, server_name(), clock_wall_ms(), (struct slices){parts->pdus, parts->pdu_count},
                         (struct slices){parts->edus, parts->edu_count});
    flight->body = malloc(body.len);
    ensure(flight->body);
    memcpy(flight->body, body.at, body.len);
    flight->len = body.len;
    flight->edu_count = parts->edu_count;
    flight->made_ms = clock_monotonic_ms();
    transaction_id(flight->id, worker_instance(call->worker), clock_wall_ms(), atomic_fetch_add(&transaction_count, 1));
    return flight;
}

/* ---- consequences */

static void log_refusals(struct call *call, struct slice server, struct slice answer)
{
    struct slice event_ids[ERRORS_LOGGED], errors[ERRORS_LOGGED];
    size_t count = transaction_errors(call->arena, answer, event_ids, errors, ERRORS_LOGGED);
    metric_add(pdus_refused, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        log_event(LOG_INFO, "a server refused an event", LOG_STR("server", server), LOG_STR("event_id", event_ids[i]),
                  LOG_STR("error", errors[i]));
}

static void succeed(struct call *call, struct destination *destination)
{
    struct flight *flight = destination->flight; /* ours alone while is_running */
    int64_t *rows = arena_new_array(call->arena, flight->edu_row_count, int64_t);
    size_t row_count = flight->edu_row_count;
    if (row_count)
        memcpy(rows, flight->edu_nids, row_count * sizeof *rows);
    metric_add(transactions_sent, 1);
    metric_add(pdus_sent, (int64_t)flight->nid_count);
    metric_add(edus_sent, (int64_t)flight->edu_count);
    if (flight->heard_us)
        metric_observe_us(latency, clock_monotonic_us() - flight->heard_us);
    destinations_lock();
    bool was_failing = backoff_is_failing(&destination->backoff), owns = distributor_owns(destination->slot);
    backoff_clear(&destination->backoff);
    destination->is_proven = true;
    destination_landed(destination);
    bool clears = destination->has_row && owns && !undelivered_pos(destination);
    bool recovers = destination->has_row && !clears && was_failing;
    if (clears) {
        destination->saved_owed_pos = 0; /* first here, then in the table: until then distributed_pos stays below what comes now */
        destination->has_row = false;
    }
    destinations_unlock();
    if (was_failing)
        log_event(LOG_INFO, "a server answers again", LOG_STR("server", destination->server));
    if (!row_count && !clears && !recovers)
        return;
    struct db_batch *batch = call_batch(call);
    if (row_count)
        q_outbox_delete(batch, (struct i64s){rows, row_count});
    if (clears)
        q_destination_clear(batch, destination->server, destination->slot, (int64_t)worker_instance(call->worker));
    if (recovers)
        q_destination_recovered(batch, destination->server);
    if (db_run(batch) == FAULT_OK)
        return;
    destinations_lock();
    destination->has_outbox |= row_count > 0; /* sent once more */
    destination->has_row |= clears;
    destinations_unlock();
}

/* "400" and "413" are about the transaction: it is made anew, smaller, until what the server cannot take is alone, which it then
 * never gets: everything else would wait for it for ever. A server that says so to everything loses one event per back-off, no
 * more. */
static void refuse(struct call *call, struct destination *destination, int status, struct slice answer)
{
    struct flight *flight = destination->flight; /* ours alone while is_running */
    int64_t nid = flight->nid_count ? flight->nids[0] : 0, row = flight->edu_row_count ? flight->edu_nids[0] : 0;
    destinations_lock();
    bool alone = destination_narrow(destination);
    if (alone) {
        destination_give_up(destination);
    } else {
        destination->has_outbox |= flight->edu_row_count > 0;
        flight_destroy(&destination->flight);
    }
    destinations_unlock();
    if (!alone)
        return;
    metric_add(pdus_refused, nid != 0);
    log_event(LOG_WARN, "what a server refuses for ever is not sent to it", LOG_STR("server", destination->server),
              LOG_I64("status", status), LOG_I64("event_nid", nid), LOG_STR("answer", slice_sub(answer, 0, 200)));
    if (row) {
        struct db_batch *batch = call_batch(call);
        q_outbox_delete(batch, (struct i64s){&row, 1});
        if (db_run(batch)) {
            destinations_lock();
            destination->has_outbox = true; /* once more, then */
            destinations_unlock();
        }
    }
}

static void fail(struct call *call, struct destination *destination, enum fault fault, int status)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) < 0)
        random = 0;
    metric_add(transactions_failed, 1);
    destinations_lock();
    bool owns = distributor_owns(destination->slot);
    backoff_fail(&destination->backoff, clock_wall_ms(), random);
    destination_fall_back(destination, owns);
    int64_t owed_pos = undelivered_pos(destination);
    struct backoff backoff = destination->backoff;
    destinations_unlock();
    log_event(LOG_INFO, "a server does not take our transactions", LOG_STR("server", destination->server),
              LOG_I64("status", status), LOG_CSTR("fault", fault_facts(fault)->name), LOG_STR("why", call->why),
              LOG_I64("retry_in_ms", backoff.retry_ms - clock_wall_ms()));
    if (!owns)
        return;
    int64_t deadline_ms = clock_monotonic_ms() + SEND_WITHIN_MS;
    call->deadline_ms = deadline_ms > call->deadline_ms ? deadline_ms : call->deadline_ms;
    struct db_batch *batch = call_batch(call);
    struct db_result *result =
        q_destination_fail(batch, destination->server, destination->slot, (int64_t)worker_instance(call->worker),
                           owed_pos ? owed_pos : DB_NULL_I64, backoff.failing_since_ms, backoff.retry_ms, backoff.interval_ms);
    if (db_run(batch) || !db_affected(result))
        return;
    destinations_lock();
    if (distributor_owns(destination->slot)) {
        destination->has_row = true;
        destination->saved_owed_pos = owed_pos;
    }
    destinations_unlock();
}

static void send_flight(struct call *call, struct destination *destination, bool is_probe)
{
    const struct flight *flight = destination->flight;
    const struct peer_request request = {
        .destination = destination->server,
        .method = SLICE("PUT"),
        .uri = arena_printf(call->arena, "/_matrix/federation/v1/send/%s", flight->id),
        .content = slice_of(flight->body, flight->len),
        .sign = true,
        .timeout_ms = is_probe ? PROBE_WITHIN_MS : SEND_WITHIN_MS,
        .size_max = ANSWER_BYTES_MAX,
    };
    struct http_answer answer = {0};
    enum fault fault = peer_request_send(call, &request, &answer);
    if (fault == FAULT_UNAVAILABLE || fault == FAULT_VERSION_MISMATCH) { /* our own house: nothing is said about the server */
        destinations_lock();
        destination->idle_until_ms = clock_monotonic_ms() + DATABASE_AWAY_MS;
        destinations_unlock();
    } else if (fault || answer.status < 200 || answer.status > 299) {
        if (!fault && (answer.status == 400 || answer.status == 413))
            refuse(call, destination, answer.status, answer.body);
        fail(call, destination, fault, answer.status);
    } else {
        log_refusals(call, destination->server, answer.body);
        succeed(call, destination);
    }
}

void delivery_step(struct call *call, struct destination *destination)
{
    destinations_lock();
    bool is_probe = backoff_is_failing(&destination->backoff);
    bool has_flight = destination->flight != NULL;
    destinations_unlock();
    if (!has_flight) {
        struct flight *flight = make_flight(call, destination);
        if (!flight)
            return;
        destinations_lock();
        destination->flight = flight;
        destinations_unlock();
    }
    send_flight(call, destination, is_probe);
}
