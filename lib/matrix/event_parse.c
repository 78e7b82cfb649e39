/* "Event format" of each room version, with the size limits of the Client-Server API: the first of the "Checks performed on
 * receipt of a PDU". What fails here is dropped, so this asks for no more than the pages do, with one exception: NUL in a
 * type or state key, which no text column can hold. */
#include "lib/matrix/event.h"

#include "lib/base/utf8.h"
#include "lib/matrix/event_id.h"
#include "lib/matrix/ids.h"

/* One parse: the object can still be changed, the event is half filled. Each step says in *why what it did not like. */
struct parse {
    struct arena *arena;
    const struct room_version *version;
    struct json *json;
    struct event *event;
    bool is_history; /* any number of prev and auth events */
    const char *why;
};

static enum fault bad(struct parse *p, const char *why)
{
    p->why = why;
    return FAULT_BAD_JSON;
}

static enum fault too_large(struct parse *p, const char *why)
{
    p->why = why;
    return FAULT_TOO_LARGE;
}

static bool is_create(const struct parse *p)
{
    return event_is(p->event, "m.room.create");
}

/* From version 3 on event_id is no part of a PDU; senders that put one in signed the event without it. */
static void drop_event_id(struct json *object)
{
    for (struct json **link = &object->first; *link; link = &(*link)->next) {
        if (!slice_eq((*link)->key, SLICE("event_id")))
            continue;
        *link = (*link)->next;
        object->count--;
        object->tidy = false;
        return;
    }
}

static enum fault parse_text(struct parse *p, struct slice text)
{
    const char *error = NULL;
    p->json = json_parse(p->arena, text, p->version->strict_canonical_json ? JSON_CANONICAL : JSON_LAX, &error);
    if (!p->json)
        return bad(p, error);
    if (p->json->type != JSON_OBJECT)
        return bad(p, "event is not an object");
    p->event->json = p->json;
    if (p->version->event_id_format != EVENT_ID_V1)
        drop_event_id(p->json);
    return FAULT_OK;
}

static bool is_too_long(const struct parse *p, struct slice text)
{
    return (p->version->byte_limits ? text.len : utf8_length(text)) > MATRIX_ID_BYTES_MAX;
}

static enum fault check_type_and_state_key(struct parse *p)
{
    struct event *event = p->event;
    const struct json *state_key = json_get_cstr(p->json, "state_key");
    event->type = json_get_string(p->json, "type");
    event->state_key = json_string(state_key);
    if (slice_is_absent(event->type))
        return bad(p, "type is not a string");
    if (state_key && slice_is_absent(event->state_key))
        return bad(p, "state_key is not a string");
    if (is_too_long(p, event->type))
        return too_large(p, "type is longer than 255 bytes");
    if (is_too_long(p, event->state_key))
        return too_large(p, "state_key is longer than 255 bytes");
    if (slice_has_nul(event->type) || slice_has_nul(event->state_key))
        return bad(p, "NUL in type or state_key");
    return FAULT_OK;
}

static enum fault check_sender(struct parse *p)
{
    p->event->sender = json_get_string(p->json, "sender");
    if (p->event->sender.len > MATRIX_ID_BYTES_MAX)
        return too_large(p, "sender is longer than 255 bytes");
    return user_id_is_valid(p->event->sender) ? FAULT_OK : bad(p, "sender is not a user id");
}

/* Up to version 11 "!opaque:server"; from version 12 the create event's id with another sigil, and none on that event. A
 * create event that has one all the same is for the authorisation rules to reject (rule 1.2). */
static enum fault check_room_id(struct parse *p)
{
    const struct json *room_id = json_get_cstr(p->json, "room_id");
    bool by_hash = p->version->room_id_is_create_hash;
    if (by_hash && is_create(p) && !room_id)
        return FAULT_OK;
    p->event->room_id = json_string(room_id);
    if (p->event->room_id.len > MATRIX_ID_BYTES_MAX)
        return too_large(p, "room_id is longer than 255 bytes");
    if (!room_id_is_valid(p->event->room_id))
        return bad(p, "room_id is not a room id");
    if (!by_hash && slice_is_absent(id_server_name(p->event->room_id)))
        return bad(p, "room_id names no server");
    if (by_hash && !event_hash_text_is_valid(p->version, slice_sub(p->event->room_id, 1, MATRIX_ID_BYTES_MAX)))
        return bad(p, "room_id is not a hash");
    return FAULT_OK;
}

/* depth: up to 2^63−1, from version 6 on 2^53−1, which is what the JSON parser grants anyway. */
static enum fault check_numbers(struct parse *p)
{
    if (!json_get_i64(p->json, "depth", &p->event->depth))
        return bad(p, "depth is not an integer");
    if (p->event->depth < 0)
        return bad(p, "depth is negative");
    if (!json_get_i64(p->json, "origin_server_ts", &p->event->origin_server_ts))
        return bad(p, "origin_server_ts is not an integer");
    return FAULT_OK;
}

/* Entries of `signatures` are not looked at: no hash covers them, so whoever passed the event on may have spoilt them, and
 * json_signature() does not find what is malformed. The same goes for an `unsigned` that is no object. */
static enum fault check_objects(struct parse *p)
{
    p->event->content = json_get_object(p->json, "content");
    p->event->unsigned_data = json_get_object(p->json, "unsigned");
    if (!p->event->content)
        return bad(p, "content is not an object");
    if (slice_is_absent(json_get_string(json_get_object(p->json, "hashes"), "sha256")))
        return bad(p, "hashes has no sha256");
    if (!json_get_object(p->json, "signatures"))
        return bad(p, "signatures is not an object");
    return FAULT_OK;
}

/* Version 1 and 2: [event id, {"sha256": …}]. Later: the event id. Absent when it is neither. */
static struct slice referred_id(const struct room_version *version, const struct json *entry)
{
    if (version->event_id_format != EVENT_ID_V1)
        return json_string(entry);
    if (!json_is(entry, JSON_ARRAY) || entry->count != 2 || !json_is(entry->first->next, JSON_OBJECT))
        return SLICE_ABSENT;
    return json_string(entry->first);
}

static enum fault check_references(struct parse *p, const char *key, size_t max, struct slices *out)
{
    const struct json *list = json_get_array(p->json, key);
    if (!list)
        return bad(p, "prev_events or auth_events is not an array");
    if (list->count > max && !p->is_history)
        return bad(p, "too many prev_events or auth_events");
    struct slice *ids = arena_new_array(p->arena, list->count, struct slice);
    size_t count = 0;
    json_each (entry, list) {
        struct slice id = referred_id(p->version, entry);
        if (id.len > MATRIX_ID_BYTES_MAX)
            return too_large(p, "event id in prev_events or auth_events is longer than 255 bytes");
        if (!event_id_is_valid(id))
            return bad(p, "prev_events or auth_events holds something that is not an event id");
        ids[count++] = id;
    }
    *out = (struct slices){ids, count};
    return FAULT_OK;
}

static enum fault check_graph(struct parse *p)
{
    enum fault f = check_references(p, "prev_events", PREV_EVENTS_MAX, &p->event->prev_events);
    return f ? f : check_references(p, "auth_events", AUTH_EVENTS_MAX, &p->event->auth_events);
}

static struct slice redaction_target(const struct parse *p)
{
    if (!event_is(p->event, "m.room.redaction"))
        return SLICE_ABSENT;
    return json_get_string(p->version->redacts_in_content ? p->event->content : p->json, "redacts");
}

static enum fault set_event_id(struct parse *p)
{
    struct event *event = p->event;
    if (p->version->event_id_format != EVENT_ID_V1) {
        event->event_id = event_id_from_hash(p->arena, p->version, event_reference_hash(p->arena, p->version, p->json));
        return FAULT_OK;
    }
    event->event_id = json_get_string(p->json, "event_id");
    if (event->event_id.len > MATRIX_ID_BYTES_MAX)
        return too_large(p, "event_id is longer than 255 bytes");
    if (!event_id_is_valid(event->event_id) || slice_is_absent(id_server_name(event->event_id)))
        return bad(p, "event_id is not an event id");
    return FAULT_OK;
}

/* The limit is for the signed event as it travels. `unsigned` differs from server to server, and a limit on it would let
 * them disagree on whether the event exists, so it is not counted. */
static enum fault set_raw(struct parse *p)
{
    static const char *const without[] = {"unsigned", NULL};
    p->event->raw = json_canonical(p->arena, p->json, without);
    return p->event->raw.len <= PDU_BYTES_MAX ? FAULT_OK : too_large(p, "event is larger than 65536 bytes");
}

static enum fault parse_steps(struct parse *p, struct slice text)
{
    enum fault f;
    if ((f = parse_text(p, text)))
        return f;
    if ((f = set_raw(p)))
        return f;
    if ((f = check_type_and_state_key(p)))
        return f;
    if ((f = check_sender(p)))
        return f;
    if ((f = check_room_id(p)))
        return f;
    if ((f = check_numbers(p)))
        return f;
    if ((f = check_objects(p)))
        return f;
    if ((f = check_graph(p)))
        return f;
    if ((f = set_event_id(p)))
        return f;
    p->event->redacts = redaction_target(p);
    if (slice_is_absent(p->event->room_id))
        p->event->room_id = room_id_from_create(p->arena, p->event->event_id);
    return FAULT_OK;
}

static enum fault parse(struct arena *arena, const struct room_version *version, struct slice text, bool is_history,
                        struct event **out, const char **why)
{
    struct parse p = {.arena = arena, .version = version, .event = arena_new(arena, struct event), .is_history = is_history};
    p.event->version = version;
    enum fault f = parse_steps(&p, text);
    if (f && why)
        *why = p.why;
    if (!f)
        *out = p.event;
    return f;
}

enum fault event_parse(struct arena *arena, const struct room_version *version, struct slice text, struct event **out,
                       const char **why)
{
    return parse(arena, version, text, false, out, why);
}

enum fault event_parse_history(struct arena *arena, const struct room_version *version, struct slice text, struct event **out,
                               const char **why)
{
    return parse(arena, version, text, true, out, why);
}
