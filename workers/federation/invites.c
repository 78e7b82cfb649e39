/* Invites across servers (Server-Server API "Inviting to a room"): ours to users elsewhere (message remote_invite), and others' to
 * our users. */
#include "lib/base/ensure.h"
#include "lib/base/uri.h"
#include "lib/matrix/auth_rules.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/federation/gate.h"
#include "workers/federation/pdu_check.h"
#include "workers/federation/queries.h"
#include "workers/federation/room_access.h"
#include "workers/federation/stripped.h"
#include "workers/federation/template.h"

/* ---- ours */
static struct slice invite_uri(struct call *call, const char *version, const struct remote_invite_request *request,
                               const struct event *event)
{
    return arena_printf(call->arena, "/_matrix/federation/%s/invite/%.*s/%.*s", version,
                        PRI(uri_encode(call->arena, request->room_id)), PRI(uri_encode(call->arena, event->event_id)));
}

/* Version 1: the body is the event itself, with the state in unsigned; the answer is [200, {…}]. */
static enum fault send_invite_v1(struct call *call, const struct remote_invite_request *request, const struct event *event,
                                 struct slice state, struct peer_answer *answer)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (member, event->json) {
        if (slice_eq(member->key, SLICE("unsigned")))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_put_object(&w, "unsigned");
    json_put_raw(&w, "invite_room_state", state);
    json_end_object(&w);
    json_end_object(&w);
    enum fault fault =
        peer_ask(call, id_server_name(request->user_id), "PUT", invite_uri(call, "v1", request, event), json_done(&w), answer);
    if (!fault && json_is(answer->json, JSON_ARRAY) && answer->json->count == 2)
        answer->json = answer->json->first->next;
    return fault;
}

/* "Senders which receive a 400 or 404 response to this endpoint should retry using the v1 API … if the room version is 1 or 2". */
static enum fault send_invite(struct call *call, const struct remote_invite_request *request, const struct event *event,
                              struct slice state, struct peer_answer *answer)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "room_version", event->version->id);
    json_put_raw(&w, "event", event->raw);
    json_put_raw(&w, "invite_room_state", state);
    json_end_object(&w);
    enum fault fault =
        peer_ask(call, id_server_name(request->user_id), "PUT", invite_uri(call, "v2", request, event), json_done(&w), answer);
    if (fault == FAULT_PEER_REFUSED && (answer->status == 400 || answer->status == 404) &&
        event->version->event_id_format == EVENT_ID_V1)
        fault = send_invite_v1(call, request, event, state, answer);
    return fault;
}

/* "If M_MISSING_PARAM or M_INVALID_PARAM is returned …, the Client-Server API request SHOULD fail with a 5xx error": it was our
 * request. */
static bool is_our_mistake(const struct peer_answer *answer)
{
    struct slice errcode = json_get_string(answer->json, "errcode");
    return slice_eq(errcode, SLICE("M_INVALID_PARAM")) || slice_eq(errcode, SLICE("M_MISSING_PARAM"));
}

enum fault answer_remote_invite(struct call *call, const struct remote_invite_request *request, struct remote_invite_reply *reply)
{
    struct room_build_request build = {.room_id = request->room_id,
                                       .type = SLICE("m.room.member"),
                                       .state_key = request->user_id,
                                       .sender = request->sender,
                                       .content = request->content};
    struct room_build_reply built;
    enum fault fault = call_room_build(call, request->room_id, &build, &built);
    if (fault)
        return fault;
    struct event *event = NULL;
    struct room_facts room;
    struct slice state, text;
    struct peer_answer answer;
    struct gate_place *gate;
    if (event_parse(call->arena, room_version_find(built.room_version), built.event, &event, NULL))
        return FAULT_INTERNAL;
    if ((fault = room_find(call, request->room_id, &room)) || (fault = stripped_state(call, &room, &state)) ||
        (fault = gate_enter(call, GATE_OUTBOUND, &gate)))
        return fault;
    fault = send_invite(call, request, event, state, &answer);
    if (fault == FAULT_PEER_REFUSED && !is_our_mistake(&answer)) {
        reply->peer_status = answer.status;
        reply->peer_body = answer.body;
    }
    if (fault)
        return fault;
    fault = pdu_countersigned(call, event, json_get_object(answer.json, "event"), id_server_name(request->user_id), &text);
    if (fault)
        return fault == FAULT_INVALID_SIGNATURE ? FAULT_PEER : fault;
    struct room_receive_request receive = {
        .room_id = request->room_id, .origin = server_name(), .pdus = {&text, 1}, .mode = RECEIVE_LIVE, .distribute = true};
    struct room_receive_reply received;
    if ((fault = call_room_receive(call, request->room_id, &receive, &received)))
        return fault;
    reply->event_id = built.event_id;
    call->why = reply->why = received.whys.len ? received.whys.at[0] : SLICE_ABSENT;
    return received.results.len ? (enum fault)received.results.at[0] : FAULT_INTERNAL;
}

/* ---- others' */
static enum fault invitee_exists(struct call *call, struct slice user_id, bool *exists)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_account_is_active(batch, user_id);
    enum fault fault = db_run(batch);
    struct account_is_active_row row;
    *exists = !fault && account_is_active_next(result, &row) && row.active;
    return fault;
}

/* What the invited user's clients will be shown of the room: whole events or stripped ones. */
static bool shows_events(const struct json *list)
{
    json_each (event, list)
        if (slice_is_absent(json_get_string(event, "type")) || !json_get_object(event, "content"))
            return false;
    return true;
}

static struct reply accept_invite(struct call *call, const struct room_version *version, const struct json *event_json,
                                  const struct json *stripped, struct checked_pdu *pdu)
{
    bool exists, allowed = true;
    struct room_facts room;
    const char *why;
    if (stripped && !json_is(stripped, JSON_ARRAY))
        return call_fail(call, FAULT_BAD_JSON, "invite_room_state must be a list");
    if (!shows_events(stripped))
        return call_fail(call, FAULT_INVALID_PARAM, "invite_room_state has an entry that is no event");
    *pdu = (struct checked_pdu){.version = version, .text = event_json->span};
    enum fault fault = pdus_check(call, pdu, 1);
    if (fault)
        return call_fail(call, fault, NULL);
    if (pdu->fault == FAULT_PEER || pdu->fault == FAULT_INVALID_SIGNATURE)
        return call_fail(call, FAULT_INVALID_PARAM, pdu->why);
    if (pdu->fault)
        return call_fail(call, pdu->fault, pdu->why);
    struct event *event = pdu->event;
    if (!event_is(event, "m.room.member") || !event_is_state(event) ||
        !slice_eq(json_get_string(event->content, "membership"), SLICE("invite")))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not an invite");
    if (!slice_eq(id_server_name(event->sender), call->origin))
        return call_fail(call, FAULT_INVALID_PARAM, "The sender is not of your server");
    if (!slice_eq(id_server_name(event->state_key), server_name()) || !slice_eq(event->room_id, call_param(call, "roomId")) ||
        !slice_eq(event->event_id, call_param(call, "eventId")))
        return call_fail(call, FAULT_INVALID_PARAM, "The event does not fit the path, or the user is not ours");
    if ((fault = stripped_check(call, version, event->room_id, stripped, &why)))
        return call_fail(call, fault, NULL);
    if (why)
        return call_fail(call, FAULT_INVALID_PARAM, why);
    fault = room_find(call, event->room_id, &room);
    if (!fault)
        fault = acl_allows(call, room.room_nid, call->origin, &allowed);
    if (fault && fault != FAULT_NOT_FOUND)
        return call_fail(call, fault, NULL);
    if (!allowed)
        return call_fail(call, FAULT_FORBIDDEN, "Your server is banned from this room");
    if ((fault = invitee_exists(call, event->state_key, &exists)))
        return call_fail(call, fault, NULL);
    if (!exists)
        return call_fail(call, FAULT_NOT_FOUND, "No such user");
    if ((fault = event_sign(call, event)))
        return call_fail(call, fault, NULL);
    struct room_outlier_membership_request request = {.room_id = event->room_id,
                                                      .room_version = slice_from_cstr(version->id),
                                                      .event = event->raw,
                                                      .stripped_state = stripped ? stripped->span : SLICE("[]"),
                                                      .user_id = event->state_key};
    struct room_outlier_membership_reply reply;
    if ((fault = call_room_outlier_membership(call, event->room_id, &request, &reply)))
        return call_fail(call, fault, NULL);
    return reply_empty();
}

struct reply receive_invite(struct call *call)
{
    struct slice version_id = json_get_string(call->json, "room_version");
    const struct json *event = json_get_object(call->json, "event");
    if (slice_is_absent(version_id) || !event)
        return call_fail(call, FAULT_BAD_JSON, "room_version and event are needed");
    const struct room_version *version = room_version_find(version_id);
    struct checked_pdu pdu = {0};
    if (!version)
        return room_incompatible(call, version_id);
    struct reply answer = accept_invite(call, version, event, json_get_cstr(call->json, "invite_room_state"), &pdu);
    if (answer.status != 200)
        return answer;
    ensure(pdu.event);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_raw(&w, "event", pdu.event->raw);
    json_end_object(&w);
    return reply_json(&w);
}

/* Version 1 of the endpoint is for room versions 1 and 2: the body is the event, the stripped state stands in unsigned. */
struct reply receive_invite_v1(struct call *call)
{
    struct checked_pdu pdu = {0};
    const struct json *stripped = json_get_cstr(json_get_object(call->json, "unsigned"), "invite_room_state");
    struct reply answer = accept_invite(call, room_version_find(SLICE("1")), call->json, stripped, &pdu);
    if (answer.status != 200)
        return answer;
    ensure(pdu.event);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_array(&w);
    json_add_i64(&w, 200);
    json_begin_object(&w);
    json_put_raw(&w, "event", pdu.event->raw);
    json_end_object(&w);
    json_end_array(&w);
    return reply_json(&w);
}
