/* Room aliases (Client-Server API "Room aliases"); see alias.h. */
#include "workers/rooms/alias.h"

#include "lib/base/clock.h"
#include "lib/base/uri.h"
#include "lib/matrix/auth_rules.h"
#include "lib/matrix/ids.h"
#include "lib/store/room_read.h"
#include "lib/store/visibility.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/queries.h"

/* Servers in the room, ourselves first: we answer for the alias. */
static enum fault servers_of(struct call *call, struct slice room_id, struct slices *out)
{
    struct room_facts room;
    struct slices joined = {NULL, 0};
    enum fault fault = room_find(call, room_id, &room);
    if (!fault)
        fault = room_servers(call, room.room_nid, &joined);
    if (fault && fault != FAULT_NOT_FOUND)
        return fault;
    struct slice *servers = arena_new_array(call->arena, joined.len + 1, struct slice);
    size_t count = 0;
    servers[count++] = server_name();
    for (size_t i = 0; i < joined.len && count < 50; i++)
        if (!slice_eq(joined.at[i], server_name()))
            servers[count++] = joined.at[i];
    *out = (struct slices){servers, count};
    return FAULT_OK;
}

static enum fault resolve_here(struct call *call, struct slice alias, struct slice *room_id, struct slices *servers)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_alias_find(batch, alias);
    enum fault fault = db_run(batch);
    struct alias_find_row row;
    if (fault)
        return fault;
    if (!alias_find_next(result, &row))
        return FAULT_NOT_FOUND;
    *room_id = row.room_id;
    return servers_of(call, row.room_id, servers);
}

static enum fault resolve_there(struct call *call, struct slice alias, struct slice *room_id, struct slices *servers)
{
    struct fetch_request request = {.destination = id_server_name(alias),
                                    .method = SLICE("GET"),
                                    .uri = arena_printf(call->arena, "/_matrix/federation/v1/query/directory?room_alias=%.*s",
                                                        PRI(uri_encode(call->arena, alias))),
                                    .sign = true,
                                    .ignore_backoff = true};
    struct fetch_reply reply;
    enum fault fault = call_fetch(call, request.destination, &request, &reply);
    if (fault == FAULT_PEER || fault == FAULT_DEADLINE || (!fault && reply.status != 200))
        return FAULT_NOT_FOUND;
    if (fault)
        return fault;
    const struct json *answer = json_parse(call->arena, reply.body, JSON_LAX, NULL);
    *room_id = json_get_string(answer, "room_id");
    if (!room_id_is_valid(*room_id))
        return FAULT_NOT_FOUND;
    const struct json *list = json_get_array(answer, "servers");
    struct slice *found = arena_new_array(call->arena, (list ? list->count : 0) + 1, struct slice);
    size_t count = 0;
    json_each (server, list)
        if (json_is(server, JSON_STRING) && server_name_is_valid(server->text))
            found[count++] = server->text;
    found[count++] = request.destination;
    *servers = (struct slices){found, count};
    return FAULT_OK;
}

enum fault alias_resolve(struct call *call, struct slice alias, struct slice *room_id, struct slices *servers)
{
    return slice_eq(id_server_name(alias), server_name()) ? resolve_here(call, alias, room_id, servers)
                                                          : resolve_there(call, alias, room_id, servers);
}

enum fault alias_insert(struct call *call, struct slice alias, struct slice room_id, struct slice creator)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *inserted = q_alias_insert(batch, alias, room_id, creator, clock_wall_ms());
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    return db_affected(inserted) ? FAULT_OK : FAULT_ALIAS_IN_USE;
}

static struct reply resolved_reply(struct call *call, struct slice room_id, struct slices servers)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "room_id", room_id);
    json_put_array(&w, "servers");
    for (size_t i = 0; i < servers.len; i++)
        json_add_string(&w, servers.at[i]);
    json_end_array(&w);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply alias_lookup(struct call *call)
{
    struct slice room_id, alias = call_param(call, "roomAlias");
    struct slices servers;
    if (!room_alias_is_valid(alias))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not a room alias");
    enum fault fault = alias_resolve(call, alias, &room_id, &servers);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such room alias");
    return fault ? call_fail(call, fault, NULL) : resolved_reply(call, room_id, servers);
}

/* GET /_matrix/federation/v1/query/directory */
struct reply query_directory(struct call *call)
{
    struct slice room_id, alias = call_query(call, "room_alias");
    struct slices servers;
    if (!room_alias_is_valid(alias) || !slice_eq(id_server_name(alias), server_name()))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not a room alias of ours");
    enum fault fault = resolve_here(call, alias, &room_id, &servers);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such room alias");
    return fault ? call_fail(call, fault, NULL) : resolved_reply(call, room_id, servers);
}

struct reply set_alias(struct call *call)
{
    struct slice alias = call_param(call, "roomAlias"), room_id = json_get_string(call->json, "room_id");
    struct room_facts room;
    struct membership_row membership;
    if (!room_alias_is_valid(alias))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not a room alias");
    if (!slice_eq(id_server_name(alias), server_name()))
        return call_fail(call, FAULT_INVALID_PARAM, "The alias belongs to another server");
    if (!room_id_is_valid(room_id))
        return call_fail(call, FAULT_BAD_JSON, "room_id is missing or not a room id");
    enum fault fault = room_find(call, room_id, &room);
    if (!fault)
        fault = membership_find(call, room.room_nid, call->requester.user_id, &membership);
    if (fault == FAULT_NOT_FOUND || (!fault && !slice_eq(membership.membership, SLICE("join")) && !call->requester.is_admin))
        return call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    if (fault || (fault = alias_insert(call, alias, room_id, call->requester.user_id)))
        return call_fail(call, fault, NULL);
    return reply_empty();
}

enum fault alias_may_be_canonical(struct call *call, const struct room_facts *room, bool *may)
{
    struct membership_row membership;
    struct event_row levels_row, create_row;
    *may = false;
    enum fault fault = membership_find(call, room->room_nid, call->requester.user_id, &membership);
    if (fault || !slice_eq(membership.membership, SLICE("join")))
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    const struct event *events[2];
    size_t count = 0;
    fault = current_state_event(call, room->room_nid, "m.room.create", SLICE(""), &create_row);
    if (!fault)
        events[count++] = event_row_parse(call->arena, &create_row);
    if (fault && fault != FAULT_NOT_FOUND)
        return fault;
    fault = current_state_event(call, room->room_nid, "m.room.power_levels", SLICE(""), &levels_row);
    if (!fault)
        events[count++] = event_row_parse(call->arena, &levels_row);
    if (fault && fault != FAULT_NOT_FOUND)
        return fault;
    struct event_list_view list = event_list_view(events, count);
    struct power_levels levels = power_levels_from(&list.view, room_version_find(room->room_version));
    *may = power_of_user(&levels, call->requester.user_id) >= power_to_send(&levels, SLICE("m.room.canonical_alias"), true);
    return FAULT_OK;
}

/* Who may remove an alias: its creator, a server admin, or who may set the room's canonical alias. */
static enum fault may_delete(struct call *call, const struct alias_find_row *row, bool *may)
{
    struct room_facts room;
    *may = slice_eq(row->creator, call->requester.user_id) || call->requester.is_admin;
    if (*may)
        return FAULT_OK;
    enum fault fault = room_find(call, row->room_id, &room);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    return alias_may_be_canonical(call, &room, may);
}

/* The room's m.room.canonical_alias without the alias; nothing happens when it does not name it or the user may not change it. */
static enum fault drop_from_canonical(struct call *call, struct slice room_id, struct slice alias)
{
    struct room_facts room;
    struct event_row row;
    enum fault fault = room_find(call, room_id, &room);
    if (!fault)
        fault = current_state_event(call, room.room_nid, "m.room.canonical_alias", SLICE(""), &row);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    const struct json *content = event_row_parse(call->arena, &row)->content, *others = json_get_array(content, "alt_aliases");
    bool named = slice_eq(json_get_string(content, "alias"), alias), other = false;
    json_each (item, others)
        other |= slice_eq(json_string(item), alias);
    if (!named && !other)
        return FAULT_OK;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (member, content) {
        if (named && slice_eq(member->key, SLICE("alias")))
            continue;
        json_key(&w, member->key);
        if (member != others) {
            json_add_value(&w, member);
            continue;
        }
        json_begin_array(&w);
        json_each (item, others)
            if (!slice_eq(json_string(item), alias))
                json_add_value(&w, item);
        json_end_array(&w);
    }
    json_end_object(&w);
    const struct slice type = SLICE("m.room.canonical_alias"), state_key = SLICE(""), text = json_done(&w);
    struct room_append_request request = {.room_id = room_id,
                                          .types = {&type, 1},
                                          .state_keys = {&state_key, 1},
                                          .senders = {&call->requester.user_id, 1},
                                          .contents = {&text, 1}};
    struct room_append_reply reply;
    fault = call_room_append(call, room_id, &request, &reply);
    return fault == FAULT_REJECTED ? FAULT_OK : fault;
}

struct reply delete_alias(struct call *call)
{
    struct slice alias = call_param(call, "roomAlias");
    struct alias_find_row row;
    bool may;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_alias_find(batch, alias);
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    if (!alias_find_next(result, &row))
        return call_fail(call, FAULT_NOT_FOUND, "No such room alias");
    if ((fault = may_delete(call, &row, &may)))
        return call_fail(call, fault, NULL);
    if (!may)
        return call_fail(call, FAULT_FORBIDDEN, "You may not remove this alias");
    batch = call_batch(call);
    q_alias_delete(batch, alias);
    if ((fault = db_run(batch)) || (fault = drop_from_canonical(call, row.room_id, alias)))
        return call_fail(call, fault, NULL);
    return reply_empty();
}

/* GET …/rooms/{roomId}/aliases: our aliases of the room, for its members and where the history is world-readable. */
struct reply room_aliases(struct call *call)
{
    struct room_facts room = {0};
    struct membership_row membership;
    enum fault fault = room_find(call, call_param(call, "roomId"), &room);
    bool member = false;
    if (!fault) {
        fault = membership_find(call, room.room_nid, call->requester.user_id, &membership);
        member = !fault && slice_eq(membership.membership, SLICE("join"));
    }
    if (fault && fault != FAULT_NOT_FOUND)
        return call_fail(call, fault, NULL);
    if (!member && !(room.room_nid && room_is_world_readable(call, room.room_nid, &fault)))
        return call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_aliases_of_room(batch, room.room_id);
    if ((fault = db_run(batch)))
        return call_fail(call, fault, NULL);
    struct aliases_of_room_row row;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_array(&w, "aliases");
    while (aliases_of_room_next(result, &row))
        json_add_string(&w, row.alias);
    json_end_array(&w);
    json_end_object(&w);
    return reply_json(&w);
}
