/* Guards of room endpoints; see room_access.h. */
#include "workers/federation/room_access.h"

#include "lib/matrix/auth_rules.h"

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
