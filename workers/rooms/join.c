/* Joining: POST …/rooms/{roomId}/join and …/join/{roomIdOrAlias} (Client-Server API "Joining rooms"); and knocking. A room with
 * members of ours is joined here; any other through its servers (Server-Server API "Joining Rooms"). */
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

/* Who invited: that server is in the room. And the room id's own server, for versions before 12. */
static enum fault add_known_servers(struct call *call, const struct room_facts *room, struct join_target *target)
{
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
        struct slices servers;
        if ((fault = room_servers(call, room->room_nid, &servers)))
            return fault;
        for (size_t i = 0; i < servers.len; i++)
            add_server(target, servers.at[i]);
    }
    if (target->server_count == 0) /* who names servers means those */
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

static struct reply join_remotely(struct call *call, struct join_target *target, struct slice content)
{
    if (target->server_count == 0)
        return call_fail(call, FAULT_NOT_FOUND, "No server of this room is known");
    struct remote_join_request request = {.room_id = target->room_id,
                                          .servers = {target->servers, target->server_count},
                                          .user_id = call->requester.user_id,
                                          .content = content};
    struct remote_join_reply reply;
    enum fault fault = call_remote_join(call, target->room_id, &request, &reply);
    if (fault == FAULT_PEER_REFUSED && reply.peer_status)
        return call_fail_peer(call, reply.peer_status, reply.peer_body);
    if (fault == FAULT_PEER || fault == FAULT_PEER_REFUSED)
        return call_fail(call, FAULT_NOT_FOUND, "No server of this room could be reached");
    return fault ? member_fail(call, fault) : room_id_reply(call, target->room_id);
}

static struct reply join(struct call *call, struct slice room_id_or_alias)
{
    struct join_target target;
    struct room_facts room = {0};
    struct slice reason, content;
    struct restricted_join verdict;
    bool ours;
    const struct json *third_party_signed = json_get_cstr(call->json, "third_party_signed");
    if (!body_reason(call, &reason))
        return call_fail(call, FAULT_BAD_JSON, "reason must be a string");
    if (third_party_signed && !json_is(third_party_signed, JSON_OBJECT))
        return call_fail(call, FAULT_BAD_JSON, "third_party_signed must be an object");
    enum fault fault = resolve_target(call, room_id_or_alias, &target);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such room alias");
    if (fault || (fault = room_is_ours(call, target.room_id, &room, &ours)) || (fault = add_known_servers(call, &room, &target)))
        return call_fail(call, fault, NULL);
    if (!ours) {
        fault = member_content(call, "join", call->requester.user_id, reason, SLICE_ABSENT, false, &content);
        return fault ? call_fail(call, fault, NULL) : join_remotely(call, &target, content);
    }
    struct membership_row membership;
    fault = membership_find(call, room.room_nid, call->requester.user_id, &membership);
    if (!fault && slice_eq(membership.membership, SLICE("join")) && slice_is_absent(reason))
        return room_id_reply(call, target.room_id);
    if ((fault && fault != FAULT_NOT_FOUND) ||
        (fault = restricted_join_authorise(call, &room, call->requester.user_id, &verdict)) ||
        (fault = member_content(call, "join", call->requester.user_id, reason, verdict.voucher, false, &content)))
        return call_fail(call, fault, NULL);
    if (verdict.fault && target.server_count)
        return join_remotely(call, &target, content);
    fault = member_append(call, target.room_id, call->requester.user_id, call->requester.user_id, content, NULL);
    return fault ? member_fail(call, fault) : room_id_reply(call, target.room_id);
}

struct reply join_room(struct call *call)
{
    return join(call, call_param(call, "roomId"));
}

struct reply join_room_or_alias(struct call *call)
{
    return join(call, call_param(call, "roomIdOrAlias"));
}

/* POST …/knock/{roomIdOrAlias} (Client-Server API "Knocking on rooms"). */
struct reply knock_room(struct call *call)
{
    struct join_target target;
    struct room_facts room = {0};
    struct slice reason, content;
    bool ours;
    if (!body_reason(call, &reason))
        return call_fail(call, FAULT_BAD_JSON, "reason must be a string");
    enum fault fault = resolve_target(call, call_param(call, "roomIdOrAlias"), &target);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such room alias");
    if (fault || (fault = room_is_ours(call, target.room_id, &room, &ours)) || (fault = add_known_servers(call, &room, &target)) ||
        (fault = member_content(call, "knock", call->requester.user_id, reason, SLICE_ABSENT, false, &content)))
        return call_fail(call, fault, NULL);
    if (ours) {
        fault = member_append(call, target.room_id, call->requester.user_id, call->requester.user_id, content, NULL);
        return fault ? member_fail(call, fault) : room_id_reply(call, target.room_id);
    }
    struct remote_knock_request request = {.room_id = target.room_id,
                                           .servers = {target.servers, target.server_count},
                                           .user_id = call->requester.user_id,
                                           .content = content};
    struct remote_knock_reply reply;
    fault = call_remote_knock(call, target.room_id, &request, &reply);
    if (fault == FAULT_PEER_REFUSED && reply.peer_status)
        return call_fail_peer(call, reply.peer_status, reply.peer_body);
    if (fault == FAULT_PEER || fault == FAULT_PEER_REFUSED)
        return call_fail(call, FAULT_NOT_FOUND, "No server of this room could be reached");
    return fault ? member_fail(call, fault) : room_id_reply(call, target.room_id);
}
