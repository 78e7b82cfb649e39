/* Leaving, turning invites down, forgetting (Client-Server API "Leaving rooms"). */
#include "workers/rooms/leave.h"

#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/member_write.h"

/* Through the server that invited us. When it cannot be reached, the invite is dropped here all the same: the user wants it gone.
 */
static enum fault leave_remotely(struct call *call, const struct room_facts *room, const struct membership_row *membership,
                                 struct slice content, struct slice *event_id)
{
    struct event_rows rows;
    enum fault fault = event_rows_by_nid(call, (struct i64s){&membership->event_nid, 1}, &rows);
    if (fault)
        return fault;
    struct slice server = rows.count ? id_server_name(rows.at[0].sender) : SLICE_ABSENT;
    if (slice_eq(membership->membership, SLICE("knock")))
        server = id_server_name(room->room_id);
    struct remote_leave_request request = {.room_id = room->room_id,
                                           .servers = {&server, slice_is_absent(server) ? 0 : 1},
                                           .user_id = call->requester.user_id,
                                           .content = content};
    struct remote_leave_reply reply;
    fault = request.servers.len ? call_remote_leave(call, room->room_id, &request, &reply) : FAULT_PEER;
    *event_id = fault ? SLICE_ABSENT : reply.event_id;
    if (fault != FAULT_PEER && fault != FAULT_PEER_REFUSED && fault != FAULT_DEADLINE)
        return fault;
    struct room_outlier_membership_request forget = {
        .room_id = room->room_id, .room_version = room->room_version, .user_id = call->requester.user_id, .forget = true};
    struct room_outlier_membership_reply forgotten;
    return call_room_outlier_membership(call, room->room_id, &forget, &forgotten);
}

/* A room of ours that everybody has left: its DAG is here all the same when one of us invited. */
static enum fault invited_here(struct call *call, const struct membership_row *membership, bool *here)
{
    struct event_rows rows;
    enum fault fault = event_rows_by_nid(call, (struct i64s){&membership->event_nid, 1}, &rows);
    *here = !fault && rows.count && slice_eq(id_server_name(rows.at[0].sender), server_name());
    return fault;
}

struct reply leave(struct call *call, const struct json *own, struct slice *event_id)
{
    struct room_facts room = {0};
    struct membership_row membership;
    struct slice reason, content;
    bool ours;
    *event_id = SLICE_ABSENT;
    if (!body_reason(call, &reason))
        return call_fail(call, FAULT_BAD_JSON, "reason must be a string");
    enum fault fault = room_is_ours(call, call_param(call, "roomId"), &room, &ours);
    if (!fault)
        fault = room.room_nid ? membership_find(call, room.room_nid, call->requester.user_id, &membership) : FAULT_NOT_FOUND;
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    if (fault || (fault = member_content(call, "leave", call->requester.user_id, reason, SLICE_ABSENT, false, &content)))
        return call_fail(call, fault, NULL);
    if (slice_eq(membership.membership, SLICE("leave")))
        return reply_empty();
    if (!ours && room.extremities.len && (fault = invited_here(call, &membership, &ours)))
        return call_fail(call, fault, NULL);
    content = member_content_own(call, content, own);
    fault = ours ? member_append(call, room.room_id, call->requester.user_id, call->requester.user_id, content, event_id)
                 : leave_remotely(call, &room, &membership, content, event_id);
    return fault ? member_fail(call, fault) : reply_empty();
}

struct reply leave_room(struct call *call)
{
    struct slice event_id;
    return leave(call, NULL, &event_id);
}

struct reply forget_room(struct call *call)
{
    struct room_forget_request request = {.room_id = call_param(call, "roomId"), .user_id = call->requester.user_id};
    struct room_forget_reply reply;
    if (!room_id_is_valid(request.room_id))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not a room id");
    enum fault fault = call_room_forget(call, request.room_id, &request, &reply);
    if (fault == FAULT_BAD_STATE)
        return call_fail(call, FAULT_UNKNOWN, "Leave the room before forgetting it");
    return fault && fault != FAULT_NOT_FOUND ? call_fail(call, fault, NULL) : reply_empty();
}
