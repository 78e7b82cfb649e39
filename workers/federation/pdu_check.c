/* Format, signatures and hashes of received PDUs; see pdu_check.h. */
#include "workers/federation/pdu_check.h"

#include "proto/stubs.h"

/* A server signs with one key, two while it changes keys. What relays add is not looked at, and many entries under one name cannot
 * keep those of another out. */
enum { SIGNERS_MAX = 3, SIGNATURES_OF_ONE_MAX = 4, CLAIMS_PER_PDU = SIGNERS_MAX * SIGNATURES_OF_ONE_MAX, BATCH = 500 };

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
    pdu->fault = event_parse(call->arena, pdu->version, pdu->text, &pdu->event, &pdu->why);
    if (pdu->fault)
        return;
    if (!event_content_hash_matches(call->arena, pdu->event)) {
        struct slice redacted = event_redact(call->arena, pdu->version, pdu->event->json);
        if ((pdu->fault = event_parse(call->arena, pdu->version, redacted, &pdu->event, &pdu->why)))
            return;
    }
    pdu->text = pdu->event->raw;
}

static size_t add_claims(struct call *call, const struct checked_pdu *pdu, size_t index, struct claim *claims)
{
    struct slice servers[SIGNERS_MAX];
    size_t signers = event_required_signers(pdu->event, servers), count = 0;
    struct slice message = event_signing_bytes(call->arena, pdu->version, pdu->event->json);
    for (size_t i = 0; i < signers; i++) {
        struct slices key_ids = json_signature_key_ids(call->arena, pdu->event->json, servers[i]);
        for (size_t k = 0; k < key_ids.len && k < SIGNATURES_OF_ONE_MAX; k++)
            claims[count++] = (struct claim){.pdu = index,
                                             .signer = i,
                                             .server = servers[i],
                                             .key_id = key_ids.at[k],
                                             .signature = json_signature(pdu->event->json, servers[i], key_ids.at[k]),
                                             .message = message,
                                             .valid_at = pdu->version->enforce_key_validity ? pdu->event->origin_server_ts : 0};
    }
    return count;
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
    struct claim *claims = arena_new_array(call->arena, count * CLAIMS_PER_PDU, struct claim);
    size_t claim_count = 0;
    for (size_t i = 0; i < count; i++) {
        parse(call, &pdus[i]);
        if (pdus[i].fault == FAULT_OK)
            claim_count += add_claims(call, &pdus[i], i, claims + claim_count);
    }
    int64_t *results = arena_new_array(call->arena, claim_count, int64_t);
    for (size_t i = 0; i < claim_count; i++)
        results[i] = FAULT_PEER;
    enum fault fault = verify_claims(call, claims, claim_count, results);
    if (fault)
        return fault;
    /* Each required signer needs one good signature. */
    uint8_t *good = arena_new_array(call->arena, count, uint8_t), *unknown = arena_new_array(call->arena, count, uint8_t);
    for (size_t i = 0; i < claim_count; i++) {
        if (results[i] == FAULT_OK)
            good[claims[i].pdu] |= (uint8_t)(1u << claims[i].signer);
        else if (results[i] == FAULT_PEER)
            unknown[claims[i].pdu] = 1;
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

enum fault pdus_check_texts(struct call *call, const struct room_version *version, const struct json *array,
                            struct checked_pdu **out, size_t *count)
{
    size_t room = json_is(array, JSON_ARRAY) ? array->count : 0, filled = 0;
    struct checked_pdu *pdus = arena_new_array(call->arena, room, struct checked_pdu);
    json_each (item, array)
        pdus[filled++] = (struct checked_pdu){.version = version, .text = item->span};
    *out = pdus;
    *count = filled;
    return pdus_check(call, pdus, filled);
}

enum fault pdu_countersigned(struct call *call, const struct event *event, const struct json *returned, struct slice server,
                             struct slice *out)
{
    struct slices key_ids = json_signature_key_ids(call->arena, returned, server);
    struct slice message = event_signing_bytes(call->arena, event->version, event->json);
    struct claim claims[SIGNATURES_OF_ONE_MAX];
    int64_t results[SIGNATURES_OF_ONE_MAX];
    size_t count = 0;
    for (; count < key_ids.len && count < SIGNATURES_OF_ONE_MAX; count++) {
        results[count] = FAULT_PEER;
        claims[count] = (struct claim){.server = server,
                                       .key_id = key_ids.at[count],
                                       .signature = json_signature(returned, server, key_ids.at[count]),
                                       .message = message,
                                       .valid_at = event->version->enforce_key_validity ? event->origin_server_ts : 0};
    }
    enum fault fault = verify_claims(call, claims, count, results), verdict = FAULT_INVALID_SIGNATURE;
    if (fault)
        return fault;
    for (size_t i = 0; i < count; i++) {
        if (results[i] == FAULT_OK) {
            *out = event_add_signature(call->arena, event->raw, server, key_ids.at[i], claims[i].signature);
            return FAULT_OK;
        }
        if (results[i] == FAULT_PEER)
            verdict = FAULT_PEER;
    }
    return verdict;
}
