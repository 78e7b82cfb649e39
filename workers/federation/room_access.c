/* Guards of room endpoints; see room_access.h. */
#include "workers/federation/room_access.h"

#include "lib/matrix/auth_rules.h"
#include "lib/matrix/ids.h"

enum fault acl_allows(struct call *call, int64_t room_nid, struct slice server, bool *allowed)
{
    struct event_row row;
    *allowed = true;
    enum fault fault = current_state_event(call, room_nid, "m.room.server_acl", SLICE(""), &row);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    *allowed = server_acl_allows(event_row_parse(call->arena, &row)->content, server);
    return FAULT_OK;
}

enum fault room_standing_get(struct call *call, struct map *seen, struct slice room_id, struct slice server,
                             const struct room_standing **out)
{
    struct room_standing *standing = map_get(seen, room_id);
    if (!standing) {
        standing = arena_new(call->arena, struct room_standing);
        enum fault fault = room_id_is_valid(room_id) ? room_find(call, room_id, &standing->room) : FAULT_NOT_FOUND;
        standing->is_known = fault == FAULT_OK;
        if (fault == FAULT_NOT_FOUND)
            fault = FAULT_OK;
        if (!fault && standing->is_known && standing->room.extremities.len)
            standing->is_resident = server_is_joined(call, standing->room.room_nid, server_name(), &fault);
        if (fault || (standing->is_known && (fault = acl_allows(call, standing->room.room_nid, server, &standing->is_allowed))))
            return fault;
        map_put(seen, room_id, standing);
    }
    *out = standing;
    return FAULT_OK;
}

bool room_open(struct call *call, enum room_need need, struct room_facts *room, struct reply *answer)
{
    bool allowed = false;
    enum fault fault = room_find(call, call_param(call, "roomId"), room);
    if (!fault && (room->extremities.len == 0 || !server_is_joined(call, room->room_nid, server_name(), &fault)) && !fault)
        fault = FAULT_NOT_FOUND;
    if (!fault)
        fault = acl_allows(call, room->room_nid, call->origin, &allowed);
    if (fault == FAULT_NOT_FOUND)
        *answer = call_fail(call, fault, "This server is not in that room");
    else if (fault)
        *answer = call_fail(call, fault, NULL);
    else if (!allowed)
        *answer = call_fail(call, FAULT_FORBIDDEN, "Your server is banned from this room");
    else if (need == NEED_MEMBER && !server_is_joined(call, room->room_nid, call->origin, &fault))
        *answer = call_fail(call, fault ? fault : FAULT_FORBIDDEN, fault ? NULL : "Your server is not in that room");
    else
        return true;
    return false;
}

struct reply room_incompatible(struct call *call, struct slice version)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "errcode", "M_INCOMPATIBLE_ROOM_VERSION");
    json_put_cstr(&w, "error", "Your server does not support this room's version");
    json_put_string(&w, "room_version", version);
    json_end_object(&w);
    return reply_status(400, json_done(&w));
}
