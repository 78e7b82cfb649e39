/* Joining: POST …/rooms/{roomId}/join and …/join/{roomIdOrAlias} (Client-Server API "Joining rooms"); and knocking. A room with
 * members of ours is joined here; any other through its servers (Server-Server API "Joining Rooms"). */
#include "lib/matrix/auth_rules.h"
#include "lib/matrix/ids.h"
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
    add_server(target, id_server_name(target->room_id));
    return FAULT_OK;
}

/* ---- restricted rooms (room version 8): which of our users can vouch, and is the condition met? */
static enum fault is_member_of_allowed(struct call *call, const struct json *join_rules, bool *met)
{
    *met = false;
    json_each (condition, json_get_array(join_rules, "allow")) {
        struct slice allowed = json_get_string(condition, "room_id");
        struct room_facts room;
        struct membership_row membership;
        if (!slice_eq(json_get_string(condition, "type"), SLICE("m.room_membership")) || slice_is_absent(allowed))
            continue;
        enum fault fault = room_find(call, allowed, &room);
        if (!fault)
            fault = membership_find(call, room.room_nid, call->requester.user_id, &membership);
        if (fault && fault != FAULT_NOT_FOUND)
            return fault;
        if (!fault && slice_eq(membership.membership, SLICE("join"))) {
            *met = true;
            return FAULT_OK;
        }
    }
    return FAULT_OK;
}

/* A joined user of ours with the power to invite; absent when there is none. */
static enum fault find_voucher(struct call *call, const struct room_facts *room, struct slice *voucher)
{
    *voucher = SLICE_ABSENT;
    struct event_rows state;
    enum fault fault = current_state_events(call, room->room_nid, &state);
    if (fault)
        return fault;
    const struct event **events = arena_new_array(call->arena, state.count, const struct event *);
    for (size_t i = 0; i < state.count; i++)
        events[i] = event_row_parse(call->arena, &state.at[i]);
    struct event_list_view list = event_list_view(events, state.count);
    struct power_levels levels = power_levels_from(&list.view, room_version_find(room->room_version));
    int64_t needed = power_to(&levels, "invite");
    for (size_t i = 0; i < state.count; i++) {
        if (!event_is(events[i], "m.room.member") || !slice_eq(json_get_string(events[i]->content, "membership"), SLICE("join")) ||
            !slice_eq(id_server_name(events[i]->state_key), server_name()) || power_of_user(&levels, events[i]->state_key) < needed)
            continue;
        *voucher = events[i]->state_key;
        return FAULT_OK;
    }
    return FAULT_OK;
}

/* *elsewhere: the condition may be met, but nobody of us can vouch: another server must. */
static enum fault authorise_restricted(struct call *call, const struct room_facts *room, struct slice *voucher, bool *elsewhere)
{
    *voucher = SLICE_ABSENT;
    *elsewhere = false;
    struct event_row row;
    struct membership_row membership;
    enum fault fault = membership_find(call, room->room_nid, call->requester.user_id, &membership);
    if (fault && fault != FAULT_NOT_FOUND)
        return fault;
    if (!fault && (slice_eq(membership.membership, SLICE("invite")) || slice_eq(membership.membership, SLICE("join"))))
        return FAULT_OK;
    fault = current_state_event(call, room->room_nid, "m.room.join_rules", SLICE(""), &row);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    const struct event *event = event_row_parse(call->arena, &row);
    struct slice rule = json_get_string(event->content, "join_rule");
    bool restricted = (event->version->restricted_join && slice_eq(rule, SLICE("restricted"))) ||
                      (event->version->knock_restricted && slice_eq(rule, SLICE("knock_restricted")));
    bool met = false;
    if (!restricted || (fault = is_member_of_allowed(call, event->content, &met)) || !met)
        return fault;
    if ((fault = find_voucher(call, room, voucher)))
        return fault;
    *elsewhere = slice_is_absent(*voucher);
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
    struct slice reason, content, voucher;
    bool ours, elsewhere;
    if (!body_reason(call, &reason))
        return call_fail(call, FAULT_BAD_JSON, "reason must be a string");
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
    if ((fault && fault != FAULT_NOT_FOUND) || (fault = authorise_restricted(call, &room, &voucher, &elsewhere)) ||
        (fault = member_content(call, "join", call->requester.user_id, reason, voucher, false, &content)))
        return call_fail(call, fault, NULL);
    if (elsewhere && target.server_count)
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
