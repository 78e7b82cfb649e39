/* POST …/upgrade (Client-Server API "Room upgrades"): a new room with a predecessor, the state that carries over, the old room's
 * tombstone, the aliases moved, the old room closed. */
#include "lib/base/ensure.h"
#include "lib/matrix/auth_rules.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/member_write.h"
#include "workers/rooms/queries.h"
#include "workers/rooms/room_events.h"

/* What Synapse and the spec carry over ("Server behaviour" of room upgrades), and bans. */
static const char *const carried[] = {
    "m.room.server_acl", "m.room.encryption",         "m.room.name",         "m.room.avatar", "m.room.topic", "m.room.guest_access",
    "m.room.join_rules", "m.room.history_visibility", "m.room.power_levels", "m.space.child"};

static bool is_carried(const struct event *event)
{
    for (size_t i = 0; i < sizeof carried / sizeof carried[0]; i++)
        if (event_is(event, carried[i]))
            return true;
    return event_is(event, "m.room.member") && slice_eq(json_get_string(event->content, "membership"), SLICE("ban"));
}

static const struct event *state_find(const struct event **state, size_t count, const char *type)
{
    for (size_t i = 0; i < count; i++)
        if (event_is_state_of(state[i], type, SLICE("")))
            return state[i];
    return NULL;
}

/* creation_content: the old one's but what belongs to the old room, and the predecessor. */
static struct slice successor_content(struct call *call, const struct room_version *version, const struct event *old_create,
                                      struct slice last_event)
{
    const struct json *additional = json_get_array(call->json, "additional_creators");
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (member, old_create->content) {
        if (slice_eq(member->key, SLICE("predecessor")) || slice_eq(member->key, SLICE("additional_creators")))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_put_object(&w, "predecessor");
    json_put_string(&w, "room_id", call_param(call, "roomId"));
    if (!version->privileged_creators)
        json_put_string(&w, "event_id", last_event);
    json_end_object(&w);
    if (additional && version->privileged_creators)
        json_put_raw(&w, "additional_creators", additional->span);
    json_end_object(&w);
    return create_content(call, version, json_parse(call->arena, json_done(&w), JSON_LAX, NULL), NULL);
}

/* Version 12: creators must not be listed among the users of the power levels. */
static struct slice levels_for(struct call *call, const struct room_version *version, const struct event *old_levels)
{
    const struct json *additional = json_get_array(call->json, "additional_creators");
    if (!version->privileged_creators)
        return old_levels->content->span;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (member, old_levels->content) {
        json_key(&w, member->key);
        if (!slice_eq(member->key, SLICE("users")) || !json_is(member, JSON_OBJECT)) {
            json_add_value(&w, member);
            continue;
        }
        json_begin_object(&w);
        json_each (user, member) {
            bool creator = slice_eq(user->key, call->requester.user_id);
            json_each (other, additional)
                creator |= slice_eq(json_string(other), user->key);
            if (creator)
                continue;
            json_key(&w, user->key);
            json_add_value(&w, user);
        }
        json_end_object(&w);
    }
    json_end_object(&w);
    return json_done(&w);
}

static enum fault append_state(struct call *call, struct slice room_id, const char *type, struct slice content,
                               struct slice *event_id)
{
    const struct slice type_slice = slice_from_cstr(type), state_key = SLICE("");
    struct room_append_request request = {.room_id = room_id,
                                          .types = {&type_slice, 1},
                                          .state_keys = {&state_key, 1},
                                          .senders = {&call->requester.user_id, 1},
                                          .contents = {&content, 1}};
    struct room_append_reply reply;
    enum fault fault = call_room_append(call, room_id, &request, &reply);
    if (!fault && event_id)
        *event_id = reply.event_ids.at[0];
    return fault;
}

/* The old room: nobody but its moderators speaks there any more. */
static enum fault close_old_room(struct call *call, const struct event *old_levels)
{
    int64_t events_default = 0, invite = 0;
    json_get_i64(old_levels->content, "events_default", &events_default);
    json_get_i64(old_levels->content, "invite", &invite);
    int64_t users_default = 0;
    json_get_i64(old_levels->content, "users_default", &users_default);
    int64_t closed = users_default + 1 > 50 ? users_default + 1 : 50;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (member, old_levels->content) {
        if (slice_eq(member->key, SLICE("events_default")) || slice_eq(member->key, SLICE("invite")))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_put_i64(&w, "events_default", events_default > closed ? events_default : closed);
    json_put_i64(&w, "invite", invite > closed ? invite : closed);
    json_end_object(&w);
    enum fault fault = append_state(call, call_param(call, "roomId"), "m.room.power_levels", json_done(&w), NULL);
    return fault == FAULT_REJECTED ? FAULT_OK : fault; /* it is upgraded all the same */
}

static enum fault move_aliases(struct call *call, struct slice old_room, struct slice new_room, const struct event *canonical)
{
    struct db_batch *batch = call_batch(call);
    q_move_aliases(batch, old_room, new_room);
    q_move_publication(batch, old_room, new_room);
    enum fault fault = db_run(batch);
    if (fault || !canonical)
        return fault;
    fault = append_state(call, new_room, "m.room.canonical_alias", canonical->content->span, NULL);
    if (!fault || fault == FAULT_REJECTED)
        fault = append_state(call, old_room, "m.room.canonical_alias", SLICE("{}"), NULL);
    return fault == FAULT_REJECTED ? FAULT_OK : fault;
}

struct reply upgrade_room(struct call *call)
{
    struct slice version_id = json_get_string(call->json, "new_version"), old_id = call_param(call, "roomId"), member, tombstone_id;
    const struct room_version *version = room_version_find(version_id);
    struct room_facts room;
    struct membership_row membership;
    struct event_rows rows;
    if (slice_is_absent(version_id))
        return call_fail(call, FAULT_BAD_JSON, "new_version is missing");
    if (!version)
        return call_fail(call, FAULT_UNSUPPORTED_ROOM_VERSION, NULL);
    enum fault fault = room_find(call, old_id, &room);
    if (!fault)
        fault = membership_find(call, room.room_nid, call->requester.user_id, &membership);
    if (fault == FAULT_NOT_FOUND || (!fault && !slice_eq(membership.membership, SLICE("join"))))
        return call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    if (fault || (fault = current_state_events(call, room.room_nid, &rows)) ||
        (fault = member_content(call, "join", call->requester.user_id, SLICE_ABSENT, SLICE_ABSENT, false, &member)))
        return call_fail(call, fault, NULL);
    const struct event **state = arena_new_array(call->arena, rows.count, const struct event *);
    for (size_t i = 0; i < rows.count; i++)
        state[i] = event_row_parse(call->arena, &rows.at[i]);
    struct event_list_view list = event_list_view(state, rows.count);
    struct power_levels levels = power_levels_from(&list.view, room_version_find(room.room_version));
    if (power_of_user(&levels, call->requester.user_id) < power_to_send(&levels, SLICE("m.room.tombstone"), true))
        return call_fail(call, FAULT_FORBIDDEN, "You may not upgrade this room");
    const struct event *create = state_find(state, rows.count, "m.room.create");
    const struct event *old_levels = state_find(state, rows.count, "m.room.power_levels");
    ensure(create);

    struct room_events events = {.count = 0};
    const struct slice none = SLICE("");
    room_events_set(&events, SLICE("m.room.create"), none, successor_content(call, version, create, SLICE_ABSENT));
    room_events_set(&events, SLICE("m.room.member"), call->requester.user_id, member);
    room_events_set(&events, SLICE("m.room.power_levels"), none,
                    old_levels ? levels_for(call, version, old_levels) : power_levels_content(call, version, NULL, NULL, false));
    for (size_t i = 0; i < rows.count; i++) {
        if (!is_carried(state[i]) || event_is(state[i], "m.room.power_levels"))
            continue;
        if (!room_events_set(&events, state[i]->type, state[i]->state_key, state[i]->content->span))
            break;
    }
    struct room_create_request request;
    struct room_create_reply created;
    room_events_request(&events, call->requester.user_id, version_id, &request);
    if ((fault = call_room_create(call, call->requester.user_id, &request, &created)))
        return fault == FAULT_REJECTED ? call_failf(call, FAULT_FORBIDDEN, "%.*s", PRI(call->why)) : call_fail(call, fault, NULL);

    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "body", "This room has been replaced");
    json_put_string(&w, "replacement_room", created.room_id);
    json_end_object(&w);
    if ((fault = append_state(call, old_id, "m.room.tombstone", json_done(&w), &tombstone_id)) ||
        (fault = move_aliases(call, old_id, created.room_id, state_find(state, rows.count, "m.room.canonical_alias"))) ||
        (old_levels && (fault = close_old_room(call, old_levels))))
        return member_fail(call, fault);
    w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "replacement_room", created.room_id);
    json_end_object(&w);
    return reply_json(&w);
}
