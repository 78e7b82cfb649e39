/* PUT /_matrix/federation/v1/send/{txnId} (Server-Server API "Transactions"): the PDUs go to their rooms, the EDUs to their owners.
 * The answer is remembered by origin and transaction id, so that a repeated transaction does nothing twice. */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/federation/alive.h"
#include "workers/federation/edus.h"
#include "workers/federation/gap.h"
#include "workers/federation/pdu_check.h"
#include "workers/federation/queries.h"
#include "workers/federation/room_access.h"
#include "workers/federation/withdrawn.h"

enum { PDUS_MAX = 50 };

struct inbound_pdu {
    struct slice room_id, event_id;
    struct room_facts room;
    enum fault result;
    struct slice why;
    bool done;
    bool is_withdrawal; /* of an invite into a room that we are not in: withdrawn.h */
};

static bool find_answer(struct call *call, struct slice *answer, enum fault *fault)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_transaction_find(batch, call->origin, call_param(call, "txnId"));
    struct transaction_find_row row;
    if ((*fault = db_run(batch)) || !transaction_find_next(result, &row))
        return false;
    *answer = row.answer;
    return true;
}

/* The room and its version, ACL first: a banned server's events do not enter. */
static enum fault open_room(struct call *call, struct map *seen, const struct json *json, struct inbound_pdu *pdu,
                            struct checked_pdu *checked)
{
    const struct room_standing *standing;
    pdu->room_id = json_get_string(json, "room_id");
    *checked = (struct checked_pdu){.text = json->span, .fault = FAULT_BAD_JSON, .why = "no room_id"};
    if (!json_is(json, JSON_OBJECT) || !room_id_is_valid(pdu->room_id))
        return FAULT_OK;
    enum fault fault = room_standing_get(call, seen, pdu->room_id, call->origin, &standing);
    if (fault)
        return fault;
    pdu->room = standing->room;
    if (standing->is_known && !standing->is_resident && (fault = is_withdrawal(call, &pdu->room, json, &pdu->is_withdrawal)))
        return fault;
    if (pdu->is_withdrawal) { /* there is no state of the room to look into */
        *checked = (struct checked_pdu){.version = room_version_find(pdu->room.room_version), .text = json->span};
        return FAULT_OK;
    }
    if (!standing->is_known || pdu->room.extremities.len == 0) {
        checked->fault = FAULT_NOT_FOUND;
        checked->why = "this server is not in that room";
        return FAULT_OK;
    }
    checked->version = standing->is_allowed ? room_version_find(pdu->room.room_version) : NULL;
    checked->fault = standing->is_allowed ? FAULT_OK : FAULT_FORBIDDEN;
    checked->why = standing->is_allowed ? NULL : "your server is banned from this room";
    return FAULT_OK;
}

/* An id for the answer even when the event could not be judged. */
static struct slice event_id_of(struct call *call, const struct checked_pdu *checked, const struct json *json,
                                const struct inbound_pdu *pdu)
{
    if (checked->event)
        return checked->event->event_id;
    const struct room_version *version = room_version_find(pdu->room.room_version);
    if (!version || version->event_id_format == EVENT_ID_V1)
        return json_get_string(json, "event_id");
    if (!json_get_object(json, "content"))
        return SLICE_ABSENT;
    return event_id_from_hash(call->arena, version, event_reference_hash(call->arena, version, json));
}

/* The PDUs of one room in the order they came. */
static enum fault receive_room(struct call *call, struct inbound_pdu *pdus, struct checked_pdu *checked, size_t count, size_t first)
{
    struct slice *texts = arena_new_array(call->arena, count, struct slice);
    size_t *places = arena_new_array(call->arena, count, size_t), taken = 0;
    for (size_t i = first; i < count; i++) {
        if (pdus[i].done || !slice_eq(pdus[i].room_id, pdus[first].room_id))
            continue;
        pdus[i].done = true;
        texts[taken] = checked[i].text;
        places[taken++] = i;
    }
    struct room_receive_request request = {
        .room_id = pdus[first].room_id, .origin = call->origin, .pdus = {texts, taken}, .mode = RECEIVE_LIVE};
    struct room_receive_reply reply;
    enum fault fault = call_room_receive(call, request.room_id, &request, &reply);
    if (fault)
        return fault;
    for (size_t i = 0; i < taken && i < reply.results.len; i++) {
        struct inbound_pdu *pdu = &pdus[places[i]];
        pdu->result = (enum fault)reply.results.at[i];
        pdu->why = i < reply.whys.len ? reply.whys.at[i] : SLICE_ABSENT;
        if (pdu->result == FAULT_MISSING_EVENTS)
            pdu->result = gap_fill(call, &pdu->room, checked[places[i]].event, &pdu->why);
        if (fault_facts(pdu->result)->retryable && pdu->result != FAULT_PEER && pdu->result != FAULT_MISSING_EVENTS)
            return pdu->result; /* our own trouble: nothing is remembered, and the sender comes again with all of it */
    }
    return FAULT_OK;
}

static struct slice write_answer(struct call *call, const struct inbound_pdu *pdus, size_t count)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "pdus");
    for (size_t i = 0; i < count; i++) {
        bool doubled = slice_is_absent(pdus[i].event_id);
        for (size_t k = 0; k < i && !doubled; k++)
            doubled = slice_eq(pdus[k].event_id, pdus[i].event_id);
        if (doubled)
            continue;
        json_key(&w, pdus[i].event_id);
        json_begin_object(&w);
        if (pdus[i].result && pdus[i].result != FAULT_REJECTED)
            json_put_string(&w, "error", pdus[i].why.len ? pdus[i].why : slice_from_cstr(fault_facts(pdus[i].result)->text));
        json_end_object(&w);
    }
    json_end_object(&w);
    json_end_object(&w);
    return json_done(&w);
}

static enum fault receive_pdus(struct call *call, struct map *seen, const struct json *list, struct slice *answer)
{
    size_t count = list ? list->count : 0, at = 0;
    struct inbound_pdu *pdus = arena_new_array(call->arena, count, struct inbound_pdu);
    struct checked_pdu *checked = arena_new_array(call->arena, count, struct checked_pdu);
    enum fault fault;
    json_each (json, list) {
        if ((fault = open_room(call, seen, json, &pdus[at], &checked[at])))
            return fault;
        at++;
    }
    if ((fault = pdus_check(call, checked, count)))
        return fault;
    at = 0;
    json_each (json, list) {
        pdus[at].event_id = event_id_of(call, &checked[at], json, &pdus[at]);
        pdus[at].result = checked[at].fault;
        pdus[at].why = slice_from_cstr(checked[at].why);
        pdus[at].done = checked[at].fault != FAULT_OK;
        if (checked[at].fault)
            log_event(LOG_INFO, "a PDU is refused", LOG_STR("origin", call->origin), LOG_STR("event", pdus[at].event_id),
                      LOG_STR("why", pdus[at].why));
        at++;
    }
    for (size_t i = 0; i < count; i++) {
        if (pdus[i].done || !pdus[i].is_withdrawal)
            continue;
        pdus[i].done = true;
        pdus[i].result = accept_withdrawal(call, &pdus[i].room, checked[i].event);
    }
    for (size_t i = 0; i < count; i++)
        if (!pdus[i].done && (fault = receive_room(call, pdus, checked, count, i)))
            return fault;
    *answer = write_answer(call, pdus, count);
    return FAULT_OK;
}

struct reply receive_transaction(struct call *call)
{
    const struct json *pdus = json_get_array(call->json, "pdus"), *edus = json_get_array(call->json, "edus");
    struct slice answer, origin = json_get_string(call->json, "origin");
    static const struct body_member members[] = {{"origin", JSON_STRING}, {"origin_server_ts", JSON_INT}, {NULL, JSON_NULL}};
    struct reply refusal;
    enum fault fault;
    if (!call_members_fit(call, call->json, members, &refusal))
        return refusal;
    if (!json_get_cstr(call->json, "pdus") || (json_get_cstr(call->json, "pdus") && !pdus) ||
        (json_get_cstr(call->json, "edus") && !edus))
        return call_fail(call, FAULT_BAD_JSON, "pdus and edus must be arrays");
    if (!slice_is_absent(origin) && !slice_eq(origin, call->origin))
        return call_fail(call, FAULT_FORBIDDEN, "origin is not the server that signed the request");
    if (pdus->count > PDUS_MAX || (edus && edus->count > EDUS_MAX))
        return call_fail(call, FAULT_BAD_JSON, "More than 50 PDUs or 100 EDUs");
    if (find_answer(call, &answer, &fault))
        return reply_raw_json(answer);
    struct map *seen = map_create(call->arena);
    if (fault || (fault = receive_pdus(call, seen, pdus, &answer)) || (fault = edus_pass_on(call, seen, edus)))
        return call_fail(call, fault, NULL);
    struct db_batch *batch = call_batch(call);
    q_transaction_remember(batch, call->origin, call_param(call, "txnId"), answer, clock_wall_ms());
    if ((fault = db_run(batch)))
        return call_fail(call, fault, NULL);
    alive_note(call, call->origin);
    return reply_raw_json(answer);
}
