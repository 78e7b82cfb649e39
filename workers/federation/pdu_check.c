/* Format, signatures and hashes of received PDUs; see pdu_check.h. */
#include "workers/federation/pdu_check.h"

#include "proto/stubs.h"

/* Signatures are in no hash: whoever passed the event on may have added some, under any name. So only the servers that must have
 * signed are looked at, each by itself, and so many of its entries that junk cannot crowd a good one out without making itself the
 * problem. */
enum { SIGNERS_MAX = 3, SIGNATURES_OF_ONE_MAX = 64, BATCH = 500 };

/* One signature to verify; several key ids of one server count as alternatives: any good one is enough. */
struct claim {
    size_t pdu, signer; /* which PDU, which of its required signers */
    struct slice server, key_id, signature, message;
    int64_t valid_at;
};

static void parse(struct call *call, struct checked_pdu *pdu)
{
    if (!pdu->version) {
        pdu->fault = pdu->fault ? pdu->fault : FAULT_UNSUPPORTED_ROOM_VERSION;
        return;
    }
    enum fault (*parse_event)(struct arena *, const struct room_version *, struct slice, struct event **, const char **) =
        pdu->is_history ? event_parse_history : event_parse;
    pdu->fault = parse_event(call->arena, pdu->version, pdu->text, &pdu->event, &pdu->why);
    if (pdu->fault)
        return;
    if (!event_content_hash_matches(call->arena, pdu->event)) {
        struct slice redacted = event_redact(call->arena, pdu->version, pdu->event->json);
        if ((pdu->fault = parse_event(call->arena, pdu->version, redacted, &pdu->event, &pdu->why)))
            return;
    }
    pdu->text = pdu->event->raw;
}

struct claims {
    struct claim *at;
    size_t count, room;
};

static void claim_add(struct arena *arena, struct claims *claims, struct claim claim)
{
    if (claims->count == claims->room) {
        size_t room = claims->room ? claims->room * 2 : 16;
        claims->at = claims->room ? arena_grow(arena, claims->at, claims->room * sizeof claim, room * sizeof claim)
                                  : arena_alloc_raw(arena, room * sizeof claim);
        claims->room = room;
    }
    claims->at[claims->count++] = claim;
}

static void add_claims(struct call *call, const struct checked_pdu *pdu, size_t index, struct claims *claims)
{
    struct slice servers[SIGNERS_MAX];
    size_t signers = event_required_signers(pdu->event, servers);
    struct slice message = event_signing_bytes(call->arena, pdu->version, pdu->event->json);
    for (size_t i = 0; i < signers; i++) {
        struct slices key_ids = json_signature_key_ids(call->arena, pdu->event->json, servers[i]);
        for (size_t k = 0; k < key_ids.len && k < SIGNATURES_OF_ONE_MAX; k++)
            claim_add(call->arena, claims,
                      (struct claim){.pdu = index,
                                     .signer = i,
                                     .server = servers[i],
                                     .key_id = key_ids.at[k],
                                     .signature = json_signature(pdu->event->json, servers[i], key_ids.at[k]),
                                     .message = message,
                                     .valid_at = pdu->version->enforce_key_validity ? pdu->event->origin_server_ts : 0});
    }
}

static enum fault verify_claims(struct call *call, const struct claim *claims, size_t count, int64_t *results)
{
    size_t batches = (count + BATCH - 1) / BATCH;
    struct bus_ticket **tickets = arena_new_array(call->arena, batches, struct bus_ticket *);
    for (size_t b = 0; b < batches; b++) {
        size_t from = b * BATCH, length = count - from < BATCH ? count - from : BATCH;
        struct slice *columns[4];
        int64_t *valid_at = arena_new_array(call->arena, length, int64_t);
        for (size_t c = 0; c < 4; c++)
            columns[c] = arena_new_array(call->arena, length, struct slice);
        for (size_t i = 0; i < length; i++) {
            const struct claim *claim = &claims[from + i];
            columns[0][i] = claim->server;
            columns[1][i] = claim->key_id;
            columns[2][i] = claim->signature;
            columns[3][i] = claim->message;
            valid_at[i] = claim->valid_at;
        }
        struct verify_request request = {.servers = {columns[0], length},
                                         .key_ids = {columns[1], length},
                                         .signatures = {columns[2], length},
                                         .messages = {columns[3], length},
                                         .valid_at = {valid_at, length}};
        tickets[b] = call_verify_send(call, columns[0][0], &request);
    }
    enum fault first = FAULT_OK;
    for (size_t b = 0; b < batches; b++) {
        struct verify_reply reply;
        enum fault fault = call_bus_wait(call, tickets[b], &reply);
        for (size_t i = 0; !fault && i < reply.results.len && b * BATCH + i < count; i++)
            results[b * BATCH + i] = reply.results.at[i];
        first = first ? first : fault;
    }
    return first;
}

enum fault pdus_check(struct call *call, struct checked_pdu *pdus, size_t count)
{
    struct claims claims = {0};
    for (size_t i = 0; i < count; i++) {
        parse(call, &pdus[i]);
        if (pdus[i].fault == FAULT_OK)
            add_claims(call, &pdus[i], i, &claims);
    }
    int64_t *results = arena_new_array(call->arena, claims.count, int64_t);
    for (size_t i = 0; i < claims.count; i++)
        results[i] = FAULT_PEER;
    enum fault fault = verify_claims(call, claims.at, claims.count, results);
    if (fault)
        return fault;
    /* Each required signer needs one good signature. */
    uint8_t *good = arena_new_array(call->arena, count, uint8_t), *unknown = arena_new_array(call->arena, count, uint8_t);
    for (size_t i = 0; i < claims.count; i++) {
        if (results[i] == FAULT_OK)
            good[claims.at[i].pdu] |= (uint8_t)(1u << claims.at[i].signer);
        else if (results[i] == FAULT_PEER)
            unknown[claims.at[i].pdu] = 1;
    }
    for (size_t i = 0; i < count; i++) {
        struct slice servers[SIGNERS_MAX];
        if (pdus[i].fault)
            continue;
        size_t signers = event_required_signers(pdus[i].event, servers);
        if (good[i] == (1u << signers) - 1)
            continue;
        pdus[i].fault = unknown[i] ? FAULT_PEER : FAULT_INVALID_SIGNATURE;
        pdus[i].why = unknown[i] ? "a signing key could not be fetched" : "a required signature is missing or wrong";
    }
    return FAULT_OK;
}

static enum fault check_texts(struct call *call, const struct room_version *version, const struct json *array, bool is_history,
                              struct checked_pdu **out, size_t *count)
{
    size_t room = json_is(array, JSON_ARRAY) ? array->count : 0, filled = 0;
    struct checked_pdu *pdus = arena_new_array(call->arena, room, struct checked_pdu);
    json_each (item, array)
        pdus[filled++] = (struct checked_pdu){.version = version, .text = item->span, .is_history = is_history};
    *out = pdus;
    *count = filled;
    return pdus_check(call, pdus, filled);
}

enum fault pdus_check_texts(struct call *call, const struct room_version *version, const struct json *array,
                            struct checked_pdu **out, size_t *count)
{
    return check_texts(call, version, array, false, out, count);
}

enum fault pdus_check_history(struct call *call, const struct room_version *version, const struct json *array,
                              struct checked_pdu **out, size_t *count)
{
    return check_texts(call, version, array, true, out, count);
}

enum fault pdu_countersigned(struct call *call, const struct event *event, const struct json *returned, struct slice server,
                             struct slice *out)
{
    struct slices key_ids = json_signature_key_ids(call->arena, returned, server);
    struct slice message = event_signing_bytes(call->arena, event->version, event->json);
    struct claims claims = {0};
    for (size_t i = 0; i < key_ids.len && i < SIGNATURES_OF_ONE_MAX; i++)
        claim_add(call->arena, &claims,
                  (struct claim){.server = server,
                                 .key_id = key_ids.at[i],
                                 .signature = json_signature(returned, server, key_ids.at[i]),
                                 .message = message,
                                 .valid_at = event->version->enforce_key_validity ? event->origin_server_ts : 0});
    int64_t *results = arena_new_array(call->arena, claims.count, int64_t);
    for (size_t i = 0; i < claims.count; i++)
        results[i] = FAULT_PEER;
    enum fault fault = verify_claims(call, claims.at, claims.count, results), verdict = FAULT_INVALID_SIGNATURE;
    if (fault)
        return fault;
    for (size_t i = 0; i < claims.count; i++) {
        if (results[i] == FAULT_OK) {
            *out = event_add_signature(call->arena, event->raw, server, key_ids.at[i], claims.at[i].signature);
            return FAULT_OK;
        }
        if (results[i] == FAULT_PEER)
            verdict = FAULT_PEER;
    }
    return verdict;
}
