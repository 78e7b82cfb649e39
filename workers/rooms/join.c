/* Joining: POST …/rooms/{roomId}/join and …/join/{roomIdOrAlias} (Client-Server API "Joining rooms"); and knocking. A room with
 * members of ours is joined here; any other through its servers (Server-Server API "Joining Rooms"). */
#include "workers/rooms/join.h"

#include "lib/matrix/ids.h"
#include "lib/store/restricted_join.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/alias.h"
#include "workers/rooms/member_write.h"
#include "workers/rooms/queries.h"

enum { SERVERS_MAX = 64 };

struct join_target {
    struct slice room_id;
    struct slice servers[SERVERS_MAX];
    size_t server_count;
};

static void add_server(struct join_target *target, struct slice server)
{
    if (slice_is_absent(server) || !server_name_is_valid(server) || slice_eq(server, server_name()) ||
        target->server_count == SERVERS_MAX)
        return;
    for (size_t i = 0; i < target->server_count; i++)
        if (slice_eq(target->servers[i], server))
            return;
    target->servers[target->server_count++] = server;
}

/* via and its older name server_name, then what the alias, the invite and the room id itself tell. */
static void add_query_servers(struct call *call, struct join_target *target)
{
    static const char *const names[] = {"via", "server_name"};
    for (size_t n = 0; n < 2; n++) {
        struct slices values = call_query_all(call, names[n]);
        for (size_t i = 0; i < values.len; i++)
            add_server(target, values.at[i]);
    }
}

static enum fault resolve_target(struct call *call, struct slice room_id_or_alias, struct join_target *target)
{
    *target = (struct join_target){0};
    if (room_alias_is_valid(room_id_or_alias)) {
        struct slices servers;
        enum fault fault = alias_resolve(call, room_id_or_alias, &target->room_id, &servers);
        if (fault)
            return fault;
        add_query_servers(call, target);
        for (size_t i = 0; i < servers.len; i++)
            add_server(target, servers.at[i]);
        return FAULT_OK;
    }
    if (!room_id_is_valid(room_id_or_alias))
        return FAULT_INVALID_PARAM;
    target->room_id = room_id_or_alias;
    add_query_servers(call, target);
    return FAULT_OK;
}

/* Who invited: that server is in the room. A client that names servers means those: the others may have reasons to let him in that
 * these have not. Otherwise all that we know of, or the room id's own server, for versions before 12. */
static enum fault add_known_servers(struct call *call, const struct room_facts *room, struct join_target *target)
{
    bool named = target->server_count > 0;
    if (room->room_nid) {
        struct membership_row membership;
        struct event_rows rows;
        enum fault fault = membership_find(call, room->room_nid, call->requester.user_id, &membership);
        if (fault && fault != FAULT_NOT_FOUND)
            return fault;
        if (!fault && slice_eq(membership.membership, SLICE("invite"))) {
            if ((fault = event_rows_by_nid(call, (struct i64s){&membership.event_nid, 1}, &rows)))
                return fault;
            if (rows.count)
                add_server(target, id_server_name(rows.at[0].sender));
        }
        struct slices servers = {NULL, 0};
        if (!named && (fault = room_servers(call, room->room_nid, &servers)))
            return fault;
        for (size_t i = 0; i < servers.len; i++)
            add_server(target, servers.at[i]);
    }
    if (target->server_count == 0)
        add_server(target, id_server_name(target->room_id));
    return FAULT_OK;
}

static struct reply room_id_reply(struct call *call, struct slice room_id)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "room_id", room_id);
    json_end_object(&w);
    return reply_json(&w);
}

static bool fail(struct reply *answer, struct reply with)
{
    *answer = with;
    return false;
}

static bool join_remotely(struct call *call, struct join_target *target, struct slice content, struct joined *out,
                          struct reply *answer)
{
    if (target->server_count == 0)
        return fail(answer, call_fail(call, FAULT_NOT_FOUND, "No server of this room is known"));
    struct remote_join_request request = {.room_id = target->room_id,
                                          .servers = {target->servers, target->server_count},
                                          .user_id = call->requester.user_id,
                                          .content = content};
    struct remote_join_reply reply;
    enum fault fault = call_remote_join(call, target->room_id, &request, &reply);
    *out = (struct joined){target->room_id, reply.event_id};
    if (fault == FAULT_PEER_REFUSED && reply.peer_status)
        return fail(answer, call_fail_peer(call, reply.peer_status, reply.peer_body));
    if (fault == FAULT_PEER || fault == FAULT_PEER_REFUSED)
        return fail(answer, call_fail(call, FAULT_NOT_FOUND, "No server of this room could be reached"));
    return !fault || fail(answer, member_fail(call, fault));
}

/* "Servers MUST only allow guest users to join rooms if the m.room.guest_access state event is present on the room, and has the
 * guest_access value can_join." Of a room that is not here nobody knows: no. */
static enum fault admit_guest(struct call *call, const struct room_facts *room, bool ours)
{
    struct event_row row;
    if (!call->requester.is_guest)
        return FAULT_OK;
    enum fault fault = ours ? current_state_event(call, room->room_nid, "m.room.guest_access", SLICE(""), &row) : FAULT_NOT_FOUND;
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_GUEST_FORBIDDEN : fault;
    struct slice access = json_get_string(event_row_parse(call->arena, &row)->content, "guest_access");
    return slice_eq(access, SLICE("can_join")) ? FAULT_OK : FAULT_GUEST_FORBIDDEN;
}

bool join(struct call *call, struct slice room_id_or_alias, const struct json *own, struct joined *out, struct reply *answer)
{
    struct join_target target;
    struct room_facts room = {0};
    struct slice reason, content;
    struct restricted_join verdict;
    bool ours;
    const struct json *third_party_signed = json_get_cstr(call->json, "third_party_signed");
    if (!body_reason(call, &reason))
        return fail(answer, call_fail(call, FAULT_BAD_JSON, "reason must be a string"));
    if (third_party_signed && !json_is(third_party_signed, JSON_OBJECT))
        return fail(answer, call_fail(call, FAULT_BAD_JSON, "third_party_signed must be an object"));
    enum fault fault = resolve_target(call, room_id_or_alias, &target);
    if (fault == FAULT_NOT_FOUND)
        return fail(answer, call_fail(call, fault, "No such room alias"));
    if (fault || (fault = room_is_ours(call, target.room_id, &room, &ours)) || (fault = add_known_servers(call, &room, &target)))
        return fail(answer, call_fail(call, fault, NULL));
    if ((fault = admit_guest(call, &room, ours)))
        return fail(answer, call_fail(call, fault, NULL));
    *out = (struct joined){target.room_id, SLICE_ABSENT};
    if (!ours) {
        fault = member_content(call, "join", call->requester.user_id, reason, SLICE_ABSENT, false, &content);
        return fault ? fail(answer, call_fail(call, fault, NULL))
                     : join_remotely(call, &target, member_content_own(call, content, own), out, answer);
    }
    struct membership_row membership;
    fault = membership_find(call, room.room_nid, call->requester.user_id, &membership);
    if (!fault && slice_eq(membership.membership, SLICE("join")) && slice_is_absent(reason) && !own)
        return true;
    if ((fault && fault != FAULT_NOT_FOUND) ||
        (fault = restricted_join_authorise(call, &room, call->requester.user_id, &verdict)) ||
        (fault = member_content(call, "join", call->requester.user_id, reason, verdict.voucher, false, &content)))
        return fail(answer, call_fail(call, fault, NULL));
    content = member_content_own(call, content, own);
    if (verdict.fault && verdict.fault != FAULT_FORBIDDEN && target.server_count) /* others may know or grant more */
        return join_remotely(call, &target, content, out, answer);
    fault = member_append(call, target.room_id, call->requester.user_id, call->requester.user_id, content, &out->event_id);
    return !fault || fail(answer, member_fail(call, fault));
}

struct reply join_room(struct call *call)
{
    struct joined joined;
    struct reply answer;
    return join(call, call_param(call, "roomId"), NULL, &joined, &answer) ? room_id_reply(call, joined.room_id) : answer;
}

struct reply join_room_or_alias(struct call *call)
{
    struct joined joined;
    struct reply answer;
    return join(call, call_param(call, "roomIdOrAlias"), NULL, &joined, &answer) ? room_id_reply(call, joined.room_id) : answer;
}

bool knock(struct call *call, struct slice room_id_or_alias, const struct json *own, struct joined *out, struct reply *answer)
{
    struct join_target target;
    struct room_facts room = {0};
    struct slice reason, content;
    bool ours;
    if (!body_reason(call, &reason))
        return fail(answer, call_fail(call, FAULT_BAD_JSON, "reason must be a string"));
    enum fault fault = resolve_target(call, room_id_or_alias, &target);
    if (fault == FAULT_NOT_FOUND)
        return fail(answer, call_fail(call, fault, "No such room alias"));
    if (fault || (fault = room_is_ours(call, target.room_id, &room, &ours)) || (fault = add_known_servers(call, &room, &target)) ||
        (fault = member_content(call, "knock", call->requester.user_id, reason, SLICE_ABSENT, false, &content)))
        return fail(answer, call_fail(call, fault, NULL));
    content = member_content_own(call, content, own);
    *out = (struct joined){target.room_id, SLICE_ABSENT};
    if (ours) {
        fault = member_append(call, target.room_id, call->requester.user_id, call->requester.user_id, content, &out->event_id);
        return !fault || fail(answer, member_fail(call, fault));
    }
    struct remote_knock_request request = {.room_id = target.room_id,
                                           .servers = {target.servers, target.server_count},
                                           .user_id = call->requester.user_id,
                                           .content = content};
    struct remote_knock_reply reply;
    fault = call_remote_knock(call, target.room_id, &request, &reply);
    out->event_id = reply.event_id;
    if (fault == FAULT_PEER_REFUSED && reply.peer_status)
        return fail(answer, call_fail_peer(call, reply.peer_status, reply.peer_body));
    if (fault == FAULT_PEER || fault == FAULT_PEER_REFUSED)
        return fail(answer, call_fail(call, FAULT_NOT_FOUND, "No server of this room could be reached"));
    return !fault || fail(answer, member_fail(call, fault));
}

/* POST …/knock/{roomIdOrAlias} (Client-Server API "Knocking on rooms"). */
struct reply knock_room(struct call *call)
{
    struct joined joined;
    struct reply answer;
    return knock(call, call_param(call, "roomIdOrAlias"), NULL, &joined, &answer) ? room_id_reply(call, joined.room_id) : answer;
}
