/* The form of an event that clients see: Client-Server API "Room event format". Only the fields of that format pass; what
 * else a server may have put beside them stays with servers. */
#include "lib/matrix/event.h"

/* "Moving the `redacts` property" (room version 11): newer clients look for it in content, older ones beside it, so in rooms
 * of any version it is shown in both places. The one that counts in this version wins. */
static void put_content(struct json_writer *w, const struct event *event)
{
    json_key_cstr(w, "content");
    if (slice_is_absent(event->redacts) || event->version->redacts_in_content) {
        json_add_value(w, event->content);
        return;
    }
    json_begin_object(w);
    json_each (member, event->content) {
        if (slice_eq(member->key, SLICE("redacts")))
            continue;
        json_key(w, member->key);
        json_add_value(w, member);
    }
    json_put_string(w, "redacts", event->redacts);
    json_end_object(w);
}

void event_for_client(struct json_writer *w, const struct event *event, struct slice unsigned_json)
{
    json_begin_object(w);
    put_content(w, event);
    json_put_string(w, "event_id", event->event_id);
    json_put_i64(w, "origin_server_ts", event->origin_server_ts);
    json_put_string(w, "redacts", event->redacts);
    json_put_string(w, "room_id", event->room_id);
    json_put_string(w, "sender", event->sender);
    json_put_string(w, "state_key", event->state_key);
    json_put_string(w, "type", event->type);
    json_put_raw(w, "unsigned", unsigned_json);
    json_end_object(w);
}
