/* Inviting, kicking, banning, unbanning (Client-Server API "Room membership"). */
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/invite.h"
#include "workers/rooms/member_write.h"

/* user_id and reason of the body; false: *answer says what is wrong with it. */
static bool take_target(struct call *call, struct slice *user_id, struct slice *reason, struct reply *answer)
{
    const struct json *value = json_get_cstr(call->json, "user_id");
    *user_id = json_string(value);
    if (!value)
        *answer = call_fail(call, FAULT_MISSING_PARAM, "user_id is missing");
    else if (!user_id_is_valid(*user_id))
        *answer = call_fail(call, json_is(value, JSON_STRING) ? FAULT_INVALID_PARAM : FAULT_BAD_JSON, "user_id is not a user id");
    else if (!body_reason(call, reason))
        *answer = call_fail(call, FAULT_BAD_JSON, "reason must be a string");
    else
        return true;
    return false;
}

/* FORBIDDEN unless the requester is joined: the rules would say so too, but a kick of someone who is not there needs a clear word.
 */
static enum fault target_membership(struct call *call, struct slice user_id, struct slice *membership)
{
    struct room_facts room;
    struct membership_row row;
    enum fault fault = room_find(call, call_param(call, "roomId"), &room);
    if (fault)
        return fault;
    if ((fault = membership_find(call, room.room_nid, call->requester.user_id, &row)))
        return fault;
    if (!slice_eq(row.membership, SLICE("join")))
        return FAULT_NOT_FOUND;
    fault = membership_find(call, room.room_nid, user_id, &row);
    *membership = fault ? SLICE("leave") : row.membership;
    return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
}

static struct reply set_membership(struct call *call, const char *membership, bool (*sensible)(struct slice now),
                                   const char *senseless)
{
    struct slice user_id, reason, now, content;
    struct reply answer;
    if (!take_target(call, &user_id, &reason, &answer))
        return answer;
    enum fault fault = target_membership(call, user_id, &now);
    if (fault)
        return member_fail(call, fault);
    if (sensible && !sensible(now))
        return call_fail(call, FAULT_FORBIDDEN, senseless);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "membership", membership);
    json_put_string(&w, "reason", reason);
    json_end_object(&w);
    content = json_done(&w);
    fault = member_append(call, call_param(call, "roomId"), call->requester.user_id, user_id, content, NULL);
    return fault ? member_fail(call, fault) : reply_empty();
}

static bool can_be_kicked(struct slice now)
{
    return slice_eq(now, SLICE("join")) || slice_eq(now, SLICE("invite")) || slice_eq(now, SLICE("knock"));
}

static bool is_banned(struct slice now)
{
    return slice_eq(now, SLICE("ban"));
}

struct reply kick_user(struct call *call)
{
    return set_membership(call, "leave", can_be_kicked, "This user is not in the room");
}

struct reply ban_user(struct call *call)
{
    return set_membership(call, "ban", NULL, NULL);
}

struct reply unban_user(struct call *call)
{
    return set_membership(call, "leave", is_banned, "This user is not banned");
}

struct reply invite_user(struct call *call)
{
    struct slice user_id, reason, now;
    struct reply answer;
    if (!json_get_cstr(call->json, "user_id") && json_get_cstr(call->json, "medium"))
        return call_fail(call, FAULT_UNRECOGNIZED, "Invites by e-mail or phone need an identity server; none is configured");
    if (!take_target(call, &user_id, &reason, &answer))
        return answer;
    enum fault fault = target_membership(call, user_id, &now);
    if (fault)
        return member_fail(call, fault);
    if (slice_eq(now, SLICE("join")))
        return call_fail(call, FAULT_FORBIDDEN, "This user is in the room already");
    struct invite_failure failure;
    if ((fault = invite(call, call_param(call, "roomId"), user_id, reason, false, &failure)))
        return invite_fail(call, fault, &failure);
    return reply_empty();
}
