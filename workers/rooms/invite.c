/* Inviting one user; see invite.h. */
#include "workers/rooms/invite.h"

#include "lib/matrix/ids.h"
#include "proto/stubs.h"
#include "workers/rooms/member_write.h"
#include "workers/rooms/queries.h"

enum fault invite(struct call *call, struct slice room_id, struct slice user_id, struct slice reason, bool is_direct,
                  struct invite_failure *failure)
{
    struct slice content;
    *failure = (struct invite_failure){0};
    enum fault fault = member_content(call, "invite", user_id, reason, SLICE_ABSENT, is_direct, &content);
    if (fault)
        return fault;
    if (slice_eq(id_server_name(user_id), server_name()))
        return member_append(call, room_id, call->requester.user_id, user_id, content, NULL);
    struct remote_invite_request request = {
        .room_id = room_id, .sender = call->requester.user_id, .user_id = user_id, .content = content};
    struct remote_invite_reply reply;
    fault = call_remote_invite(call, room_id, &request, &reply);
    *failure = (struct invite_failure){reply.peer_status, reply.peer_body};
    return fault;
}

struct reply invite_fail(struct call *call, enum fault fault, const struct invite_failure *failure)
{
    if (fault == FAULT_PEER_REFUSED && failure->peer_status)
        return call_fail_peer(call, failure->peer_status, failure->peer_body);
    return member_fail(call, fault);
}
