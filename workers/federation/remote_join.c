/* messages remote_join, remote_leave, remote_knock: our users in rooms of other servers (Server-Server API "Joining Rooms",
 * "Leaving Rooms", "Knocking"). */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/store/room_read.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/federation/join_import.h"
#include "workers/federation/join_undo.h"
#include "workers/federation/template.h"

enum {
    JOIN_MS = 300000, /* large rooms: minutes for the other server to answer, and for us to check */
    ATTEMPTS = 3,
};

/* The user is in already: an earlier attempt, which nobody waited for any more, came through. */
static enum fault join_of_before(struct call *call, const struct remote_join_request *request, struct slice *event_id)
{
    struct room_facts room;
    struct membership_row membership;
    struct event_rows rows;
    enum fault fault = room_find(call, request->room_id, &room);
    *event_id = SLICE_ABSENT;
    if (!fault && room.extremities.len && !(fault = membership_find(call, room.room_nid, request->user_id, &membership)) &&
        slice_eq(membership.membership, SLICE("join")) &&
        !(fault = event_rows_by_nid(call, (struct i64s){&membership.event_nid, 1}, &rows)) && rows.count)
        *event_id = rows.at[0].event_id;
    return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
}

/* One attempt. *debt: made as soon as a server may have accepted the join; the same for all attempts. */
static enum fault join_once(struct call *call, const struct remote_join_request *request, struct join_debt **debt,
                            struct remote_join_reply *reply)
{
    struct membership_flow flow = {.make = "make_join",
                                   .send = "/_matrix/federation/v2/send_join",
                                   .membership = "join",
                                   .with_versions = true,
                                   .room_id = request->room_id,
                                   .user_id = request->user_id,
                                   .content = request->content,
                                   .finish_ms = JOIN_MS};
    struct templated templated = {.unanswered = SLICE_ABSENT};
    enum fault fault = membership_through(call, &flow, request->servers, &templated);
    reply->peer_status = templated.answer.status;
    reply->peer_body = templated.answer.status == 200 ? SLICE_ABSENT : templated.answer.body;
    struct slice accepting = fault ? templated.unanswered : templated.server;
    if (!*debt && !slice_is_absent(accepting))
        *debt = join_debt_owe(call, request->room_id, request->user_id, accepting);
    if (!fault && (fault = join_import(call, &templated, request->room_id, &reply->event_id)))
        log_event(LOG_WARN, "a room could not be taken over", LOG_STR("room", request->room_id),
                  LOG_CSTR("fault", fault_facts(fault)->name), LOG_STR("why", call->why));
    return fault;
}

/* From the moment the other server is asked to accept the join, it is finished even when its caller's time is over: who asks again
 * waits in this room's lane, and finds the user in the room. Trouble of our own (a worker died) is no reason to take it back: an
 * invite is good for one join, so it is tried again first. */
enum fault answer_remote_join(struct call *call, const struct remote_join_request *request, struct remote_join_reply *reply)
{
    struct join_debt *debt = NULL;
    enum fault fault = join_of_before(call, request, &reply->event_id);
    reply->room_id = request->room_id;
    if (fault || !slice_is_absent(reply->event_id))
        return fault;
    for (int attempt = 1;; attempt++) {
        fault = join_once(call, request, &debt, reply);
        if (fault != FAULT_UNAVAILABLE || attempt == ATTEMPTS || clock_monotonic_ms() >= call->deadline_ms)
            break;
    }
    if (!fault && debt)
        join_debt_paid(debt);
    return fault;
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
