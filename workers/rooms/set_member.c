/* PUT …/state/m.room.member/{userId} (Client-Server API "Sending events to a room"): what other servers must hear or do goes the
 * way of /join, /knock, /leave and /invite; the rest is a state event like others. */
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/invite.h"
#include "workers/rooms/join.h"
#include "workers/rooms/leave.h"
#include "workers/rooms/member_write.h"
#include "workers/rooms/state_put.h"

static struct reply event_reply(struct call *call, bool good, struct slice event_id, const struct reply *refusal)
{
    if (!good)
        return *refusal;
    if (slice_is_absent(event_id)) /* an invite that was dropped here */
        return call_fail(call, FAULT_PEER, "No server of this room took the event");
    return event_id_reply(call, event_id);
}

static struct reply leave_there(struct call *call)
{
    struct slice event_id;
    struct reply answer = leave(call, call->json, &event_id);
    return event_reply(call, answer.status == 200, event_id, &answer);
}

static struct reply invite_there(struct call *call, struct slice user_id, struct slice content)
{
    struct remote_invite_request request = {
        .room_id = call_param(call, "roomId"), .sender = call->requester.user_id, .user_id = user_id, .content = content};
    struct remote_invite_reply reply;
    enum fault fault = call_remote_invite(call, request.room_id, &request, &reply);
    if (fault)
        return invite_fail(call, fault, &(struct invite_failure){reply.peer_status, reply.peer_body});
    return event_id_reply(call, reply.event_id);
}

struct reply set_member(struct call *call)
{
    struct slice user_id = call_param(call, "userId"), room_id = call_param(call, "roomId");
    struct slice wanted = json_get_string(call->json, "membership"), content = member_content_own(call, SLICE("{}"), call->json);
    struct room_facts room = {0};
    struct membership_row membership = {0};
    struct joined joined;
    struct reply answer;
    bool ours;
    if (!user_id_is_valid(user_id))
        return call_fail(call, FAULT_BAD_JSON, "The state key is not a user id");
    if (!room_id_is_valid(room_id))
        return call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    enum fault fault = room_is_ours(call, room_id, &room, &ours);
    if (!fault && room.room_nid)
        fault = membership_find(call, room.room_nid, user_id, &membership);
    if (fault && fault != FAULT_NOT_FOUND)
        return call_fail(call, fault, NULL);
    bool self = slice_eq(user_id, call->requester.user_id), is_in = ours && slice_eq(membership.membership, SLICE("join"));
    if (self && slice_eq(wanted, SLICE("join")) && !is_in) {
        bool good = join(call, room_id, call->json, &joined, &answer);
        return event_reply(call, good, joined.event_id, &answer);
    }
    if (self && slice_eq(wanted, SLICE("knock")) && !ours) {
        bool good = knock(call, room_id, call->json, &joined, &answer);
        return event_reply(call, good, joined.event_id, &answer);
    }
    if (self && slice_eq(wanted, SLICE("leave")) && !ours)
        return leave_there(call);
    if (ours && slice_eq(wanted, SLICE("invite")) && !slice_eq(id_server_name(user_id), server_name()))
        return invite_there(call, user_id, content);
    return state_put(call, "m.room.member", user_id, content);
}
