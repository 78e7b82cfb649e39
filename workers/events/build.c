/* message room_build: an event of ours on the current state, signed but not persisted (invites to other servers), or the unsigned
 * template that make_join, make_leave and make_knock answer. */
#include "lib/base/clock.h"
#include "proto/dispatch.h"
#include "workers/events/compose.h"

enum fault answer_room_build(struct call *call, const struct room_build_request *request, struct room_build_reply *reply)
{
    struct hot_room *room;
    enum fault fault = hot_room_get(call, request->room_id, &room);
    if (fault)
        return fault;
    if (room->extremity_count == 0)
        return FAULT_NOT_FOUND;
    struct event_draft draft = {.type = request->type,
                                .state_key = request->state_key,
                                .sender = request->sender,
                                .content = request->content,
                                .origin_server_ts = clock_wall_ms()};
    const char *why = NULL;
    fault = compose_one(call, room, &draft, request->template_only, request->authorise, &reply->event, &reply->event_id, &why);
    call->why = reply->why = slice_from_cstr(why);
    reply->room_version = slice_from_cstr(room->version->id);
    return fault;
}
