/* The first events of a room; see room_events.h. */
#include "workers/rooms/room_events.h"

#include "lib/base/ensure.h"
#include "lib/matrix/ids.h"

/* What a preset stands for (Client-Server API "Creation", table of presets). */
struct preset {
    const char *name, *join_rule;
    bool guests, trust_invitees;
};
static const struct preset presets[] = {
    {"private_chat", "invite", true, false},
    {"trusted_private_chat", "invite", true, true},
    {"public_chat", "public", false, false},
};

static const struct preset *preset_find(const struct json *body)
{
    struct slice name = json_get_string(body, "preset");
    if (slice_is_absent(name))
        name = slice_eq(json_get_string(body, "visibility"), SLICE("public")) ? SLICE("public_chat") : SLICE("private_chat");
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (slice_eq(name, slice_from_cstr(presets[i].name)))
            return &presets[i];
    return NULL;
}

bool room_events_set(struct room_events *events, struct slice type, struct slice state_key, struct slice content)
{
    for (size_t i = 0; i < events->count; i++) {
        if (slice_eq(events->types[i], type) && slice_eq(events->state_keys[i], state_key)) {
            events->contents[i] = content;
            return true;
        }
    }
    if (events->count == ROOM_EVENTS_MAX)
        return false;
    events->types[events->count] = type;
    events->state_keys[events->count] = state_key;
    events->senders[events->count] = SLICE_ABSENT;
    events->contents[events->count++] = content;
    return true;
}

static struct slice one_string(struct call *call, const char *key, struct slice value)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, key, value);
    json_end_object(&w);
    return json_done(&w);
}

static struct slice one_cstr(struct call *call, const char *key, const char *value)
{
    return one_string(call, key, slice_from_cstr(value));
}

/* creation_content, with what only the server may say put over it. */
struct slice create_content(struct call *call, const struct room_version *version, const struct json *extra,
                            const struct json *additional)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (member, extra) {
        bool creators = slice_eq(member->key, SLICE("additional_creators"));
        if (slice_eq(member->key, SLICE("creator")) || slice_eq(member->key, SLICE("room_version")) ||
            (creators && version->privileged_creators))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    if (!version->implicit_room_creator)
        json_put_string(&w, "creator", call->requester.user_id);
    json_put_cstr(&w, "room_version", version->id);
    const struct json *given = json_get_cstr(extra, "additional_creators");
    if (version->privileged_creators && (given || (additional && additional->count))) {
        json_put_array(&w, "additional_creators");
        json_each (user, given)
            json_add_value(&w, user);
        json_each (user, additional) {
            bool doubled = slice_eq(user->text, call->requester.user_id);
            json_each (other, given)
                doubled |= slice_eq(json_string(other), user->text);
            if (!doubled)
                json_add_value(&w, user);
        }
        json_end_array(&w);
    }
    json_end_object(&w);
    return json_done(&w);
}

static void put_users(struct call *call, const struct room_version *version, struct json_writer *w, const struct json *trusted)
{
    json_put_object(w, "users");
    if (!version->privileged_creators) { /* version 12: creators have infinite power and must not be listed */
        json_key(w, call->requester.user_id);
        json_add_i64(w, 100);
        json_each (user, trusted) {
            if (slice_eq(user->text, call->requester.user_id))
                continue;
            bool doubled = false;
            for (const struct json *before = trusted->first; before != user; before = before->next)
                doubled |= slice_eq(before->text, user->text);
            if (doubled)
                continue;
            json_key(w, user->text);
            json_add_i64(w, 100);
        }
    }
    json_end_object(w);
}

struct slice power_levels_content(struct call *call, const struct room_version *version, const struct json *override,
                                  const struct json *trusted, bool anyone_invites)
{
    static const struct {
        const char *key;
        int64_t level;
    } defaults[] = {{"users_default", 0}, {"events_default", 0}, {"state_default", 50}, {"ban", 50},
                    {"kick", 50},         {"redact", 50},        {"historical", 100}};
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (!json_get_cstr(override, defaults[i].key))
            json_put_i64(&w, defaults[i].key, defaults[i].level);
    if (!json_get_cstr(override, "invite"))
        json_put_i64(&w, "invite", anyone_invites ? 0 : 50);
    if (!json_get_cstr(override, "users"))
        put_users(call, version, &w, trusted);
    if (!json_get_cstr(override, "events")) {
        json_put_object(&w, "events");
        json_put_i64(&w, "m.room.name", 50);
        json_put_i64(&w, "m.room.power_levels", 100);
        json_put_i64(&w, "m.room.history_visibility", 100);
        json_put_i64(&w, "m.room.canonical_alias", 50);
        json_put_i64(&w, "m.room.avatar", 50);
        json_put_i64(&w, "m.room.tombstone", version->privileged_creators ? 150 : 100);
        json_put_i64(&w, "m.room.server_acl", 100);
        json_put_i64(&w, "m.room.encryption", 100);
        json_end_object(&w);
    }
    json_each (member, override) {
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_end_object(&w);
    return json_done(&w);
}

const char *room_events_compose(struct call *call, const struct room_version *version, struct slice alias, struct slice member,
                                struct room_events *out)
{
    const struct json *body = call->json, *invitees = json_get_array(body, "invite");
    const struct preset *preset = preset_find(body);
    const struct slice none = SLICE("");
    if (!preset)
        return "preset is not one of private_chat, trusted_private_chat, public_chat";
    const struct json *trusted = preset->trust_invitees ? invitees : NULL;
    out->count = 0;
    /* 1 to 4: create, join, power levels, alias */
    room_events_set(
        out, SLICE("m.room.create"), none,
        create_content(call, version, json_get_object(body, "creation_content"), version->privileged_creators ? trusted : NULL));
    room_events_set(out, SLICE("m.room.member"), call->requester.user_id, member);
    room_events_set(out, SLICE("m.room.power_levels"), none,
                    power_levels_content(call, version, json_get_object(body, "power_level_content_override"), trusted,
                                         strcmp(preset->join_rule, "invite") == 0));
    if (!slice_is_absent(alias))
        room_events_set(out, SLICE("m.room.canonical_alias"), none, one_string(call, "alias", alias));
    /* 5: the preset */
    room_events_set(out, SLICE("m.room.join_rules"), none, one_cstr(call, "join_rule", preset->join_rule));
    room_events_set(out, SLICE("m.room.history_visibility"), none, one_cstr(call, "history_visibility", "shared"));
    if (preset->guests) /* without the event guests are forbidden */
        room_events_set(out, SLICE("m.room.guest_access"), none, one_cstr(call, "guest_access", "can_join"));
    if (worker_settings(call->worker)->encryption_by_default && strcmp(preset->join_rule, "invite") == 0)
        room_events_set(out, SLICE("m.room.encryption"), none, one_cstr(call, "algorithm", "m.megolm.v1.aes-sha2"));
    /* 6: initial state, which wins over the preset */
    json_each (state, json_get_array(body, "initial_state")) {
        struct slice type = json_get_string(state, "type"), key = json_get_string(state, "state_key");
        if (slice_eq(type, SLICE("m.room.create")))
            return "initial_state must not contain m.room.create";
        if (!room_events_set(out, type, slice_is_absent(key) ? none : key, json_get_object(state, "content")->span))
            return "initial_state has too many events";
    }
    /* 7: name and topic */
    struct slice name = json_get_string(body, "name"), topic = json_get_string(body, "topic");
    if (!slice_is_absent(name) && !room_events_set(out, SLICE("m.room.name"), none, one_string(call, "name", name)))
        return "initial_state has too many events";
    if (!slice_is_absent(topic)) {
        struct json_writer w = json_writer_in(call->arena);
        json_begin_object(&w);
        json_put_string(&w, "topic", topic);
        json_put_object(&w, "m.topic"); /* rich form, Client-Server API "m.room.topic" */
        json_put_array(&w, "m.text");
        json_begin_object(&w);
        json_put_string(&w, "body", topic);
        json_put_cstr(&w, "mimetype", "text/plain");
        json_end_object(&w);
        json_end_array(&w);
        json_end_object(&w);
        json_end_object(&w);
        if (!room_events_set(out, SLICE("m.room.topic"), none, json_done(&w)))
            return "initial_state has too many events";
    }
    return NULL;
}

void room_events_request(const struct room_events *events, struct slice creator, struct slice version_id,
                         struct room_create_request *request)
{
    *request = (struct room_create_request){.room_version = version_id,
                                            .creator = creator,
                                            .types = {events->types, events->count},
                                            .state_keys = {events->state_keys, events->count},
                                            .senders = {events->senders, events->count},
                                            .contents = {events->contents, events->count}};
}
