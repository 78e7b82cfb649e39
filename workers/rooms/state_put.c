/* One state event of the requester; see state_put.h. */
#include "workers/rooms/state_put.h"

#include "lib/store/room_read.h"
#include "proto/stubs.h"
#include "workers/rooms/member_write.h"

struct reply event_id_reply(struct call *call, struct slice event_id)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "event_id", event_id);
    json_end_object(&w);
    return reply_json(&w);
}

/* The event that stands with the same content by the same sender; absent when there is none. A joined user's only: what the state
 * of a room is, others are not told. */
static enum fault find_standing(struct call *call, const char *type, struct slice state_key, struct slice content,
                                struct slice *event_id)
{
    struct room_facts room;
    struct membership_row membership;
    struct event_row row;
    *event_id = SLICE_ABSENT;
    enum fault fault = room_find(call, call_param(call, "roomId"), &room);
    if (!fault)
        fault = membership_find(call, room.room_nid, call->requester.user_id, &membership);
    if (!fault && slice_eq(membership.membership, SLICE("join")))
        fault = current_state_event(call, room.room_nid, type, state_key, &row);
    else if (!fault)
        fault = FAULT_NOT_FOUND;
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    const struct json *given = json_parse(call->arena, content, JSON_LAX, NULL);
    const struct json *standing = event_row_parse(call->arena, &row)->content;
    if (slice_eq(row.sender, call->requester.user_id) &&
        slice_eq(json_canonical(call->arena, given, NULL), json_canonical(call->arena, standing, NULL)))
        *event_id = row.event_id;
    return FAULT_OK;
}

struct reply state_put(struct call *call, const char *type, struct slice state_key, struct slice content)
{
    struct slice event_id, type_text = slice_from_cstr(type);
    struct room_append_request request = {.room_id = call_param(call, "roomId"),
                                          .types = {&type_text, 1},
                                          .state_keys = {&state_key, 1},
                                          .senders = {&call->requester.user_id, 1},
                                          .contents = {&content, 1}};
    struct room_append_reply reply;
    if (!slice_is_absent(call->requester.appservice_id) && !call_query_i64(call, "ts", &request.origin_server_ts))
        return call_fail(call, FAULT_INVALID_PARAM, "ts must be a number");
    enum fault fault = find_standing(call, type, state_key, content, &event_id);
    if (!fault && !slice_is_absent(event_id))
        return event_id_reply(call, event_id);
    if (!fault)
        fault = call_room_append(call, request.room_id, &request, &reply);
    return fault ? member_fail(call, fault) : event_id_reply(call, reply.event_ids.at[0]);
}
