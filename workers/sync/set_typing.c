/* PUT /rooms/{roomId}/typing/{userId} (Client-Server API "Typing Notifications"; Server-Server "Typing Notifications"). */
#include "lib/kit/stream.h"
#include "lib/store/room_read.h"
#include "proto/dispatch.h"
#include "workers/sync/edus.h"
#include "workers/sync/queries.h"
#include "workers/sync/typing.h"

enum { TIMEOUT_DEFAULT_MS = 30000 };

static struct slice edu_content(struct call *call, struct slice room_id, struct slice user_id, bool typing)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "room_id", room_id);
    json_put_string(&w, "user_id", user_id);
    json_put_bool(&w, "typing", typing);
    json_end_object(&w);
    return json_done(&w);
}

struct reply set_typing(struct call *call)
{
    struct slice room_id = call_param(call, "roomId"), user_id = call->requester.user_id;
    const struct json *typing = json_get_cstr(call->json, "typing"), *timeout = json_get_cstr(call->json, "timeout");
    int64_t timeout_ms = timeout ? timeout->integer : TIMEOUT_DEFAULT_MS, room_nid;
    if (!slice_eq(call_param(call, "userId"), user_id))
        return call_fail(call, FAULT_FORBIDDEN, "You can type for yourself only");
    if (!json_is(typing, JSON_BOOL) || (timeout && !json_is(timeout, JSON_INT)) || timeout_ms < 0)
        return call_fail(call, FAULT_BAD_JSON, "typing must be a boolean, timeout a number");
    enum fault fault = room_joined(call, room_id, &room_nid);
    if (fault)
        return call_fail(call, fault, fault == FAULT_FORBIDDEN ? "You are not in this room" : NULL);
    bool news = typing_is_news(room_id, user_id, typing->boolean);
    struct slice payload = typing_pack(call->arena, user_id, typing->boolean, timeout_ms);
    typing_heard(call->worker, room_id, payload);
    stream_publish(call->worker, STREAM_typing, room_id, 0, 0, payload);
    if (news)
        edus_to_room(call, room_nid, SLICE("m.typing"), arena_printf(call->arena, "%.*s %.*s", PRI(room_id), PRI(user_id)),
                     edu_content(call, room_id, user_id, typing->boolean));
    return reply_empty();
}
