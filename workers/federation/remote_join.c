/* messages remote_join, remote_leave, remote_knock: our users in rooms of other servers (Server-Server API "Joining Rooms",
 * "Leaving Rooms", "Knocking"). */
#include "lib/base/log.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/federation/pdu_check.h"
#include "workers/federation/template.h"

/* The good ones of an answer's list; *create_good tells whether the create event is among them. */
static enum fault take_list(struct call *call, const struct room_version *version, const struct json *list, struct slices *out,
                            bool *create_good)
{
    struct checked_pdu *pdus;
    size_t count, kept = 0;
    enum fault fault = pdus_check_texts(call, version, list, &pdus, &count);
    if (fault)
        return fault;
    struct slice *texts = arena_new_array(call->arena, count, struct slice);
    for (size_t i = 0; i < count; i++) {
        if (pdus[i].fault) {
            log_event(LOG_WARN, "an event of a send_join answer is left out",
                      LOG_CSTR("why", pdus[i].why ? pdus[i].why : "bad format"));
            continue;
        }
        *create_good |= event_is_state_of(pdus[i].event, "m.room.create", SLICE(""));
        texts[kept++] = pdus[i].text;
    }
    *out = (struct slices){texts, kept};
    return FAULT_OK;
}

/* Restricted rooms: the resident server answers the event with its signature added. It must still be ours. */
static enum fault take_join(struct call *call, const struct templated *templated, struct slice *join)
{
    const struct json *returned = json_get_object(templated->answer.json, "event");
    *join = templated->event->raw;
    if (!returned)
        return FAULT_OK;
    struct checked_pdu pdu = {.version = templated->version, .text = returned->span};
    enum fault fault = pdus_check(call, &pdu, 1);
    if (fault)
        return fault;
    if (!pdu.fault && slice_eq(pdu.event->event_id, templated->event->event_id))
        *join = pdu.text;
    return FAULT_OK;
}

enum fault answer_remote_join(struct call *call, const struct remote_join_request *request, struct remote_join_reply *reply)
{
    struct membership_flow flow = {.make = "make_join",
                                   .send = "/_matrix/federation/v2/send_join",
                                   .membership = "join",
                                   .with_versions = true,
                                   .room_id = request->room_id,
                                   .user_id = request->user_id,
                                   .content = request->content};
    struct templated templated = {0};
    enum fault fault = membership_through(call, &flow, request->servers, &templated);
    reply->peer_status = templated.answer.status;
    reply->peer_body = templated.answer.body;
    if (fault)
        return fault;
    struct room_import_request import = {.room_id = request->room_id, .room_version = slice_from_cstr(templated.version->id)};
    struct room_import_reply imported;
    bool create_good = false;
    if ((fault = take_list(call, templated.version, json_get_array(templated.answer.json, "state"), &import.state, &create_good)) ||
        (fault = take_list(call, templated.version, json_get_array(templated.answer.json, "auth_chain"), &import.auth_chain,
                           &create_good)) ||
        (fault = take_join(call, &templated, &import.join_event)))
        return fault;
    if (!create_good)
        return FAULT_PEER; /* no create event that verifies: this is not the room */
    if ((fault = call_room_import(call, request->room_id, &import, &imported)))
        return fault;
    reply->room_id = request->room_id;
    reply->event_id = imported.event_id;
    return FAULT_OK;
}

/* The membership is kept outside of any DAG: we are not in the room. */
static enum fault keep_outlier(struct call *call, const struct templated *templated, struct slice room_id, struct slice user_id,
                               struct slice stripped_state, struct slice *event_id)
{
    struct room_outlier_membership_request request = {.room_id = room_id,
                                                      .room_version = slice_from_cstr(templated->version->id),
                                                      .event = templated->event->raw,
                                                      .stripped_state = stripped_state,
                                                      .user_id = user_id};
    struct room_outlier_membership_reply reply;
    enum fault fault = call_room_outlier_membership(call, room_id, &request, &reply);
    *event_id = reply.event_id;
    return fault;
}

enum fault answer_remote_leave(struct call *call, const struct remote_leave_request *request, struct remote_leave_reply *reply)
{
    struct membership_flow flow = {.make = "make_leave",
                                   .send = "/_matrix/federation/v2/send_leave",
                                   .membership = "leave",
                                   .room_id = request->room_id,
                                   .user_id = request->user_id,
                                   .content = request->content};
    struct templated templated = {0};
    enum fault fault = membership_through(call, &flow, request->servers, &templated);
    reply->peer_status = templated.answer.status;
    reply->peer_body = templated.answer.body;
    return fault ? fault : keep_outlier(call, &templated, request->room_id, request->user_id, SLICE_ABSENT, &reply->event_id);
}

enum fault answer_remote_knock(struct call *call, const struct remote_knock_request *request, struct remote_knock_reply *reply)
{
    struct membership_flow flow = {.make = "make_knock",
                                   .send = "/_matrix/federation/v1/send_knock",
                                   .membership = "knock",
                                   .with_versions = true,
                                   .room_id = request->room_id,
                                   .user_id = request->user_id,
                                   .content = request->content};
    struct templated templated = {0};
    enum fault fault = membership_through(call, &flow, request->servers, &templated);
    reply->peer_status = templated.answer.status;
    reply->peer_body = templated.answer.body;
    if (fault)
        return fault;
    const struct json *stripped = json_get_array(templated.answer.json, "knock_room_state");
    return keep_outlier(call, &templated, request->room_id, request->user_id, stripped ? stripped->span : SLICE_ABSENT,
                        &reply->event_id);
}
