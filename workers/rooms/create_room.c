/* POST …/createRoom (Client-Server API "Creation"): the events in the order of the spec's list, in one write; then the invites. */
#include "lib/base/clock.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/alias.h"
#include "workers/rooms/invite.h"
#include "workers/rooms/member_write.h"
#include "workers/rooms/queries.h"
#include "workers/rooms/room_events.h"

/* Step 0: what the body may say. False: *answer. */
static bool check_body(struct call *call, struct reply *answer)
{
    static const struct body_member members[] = {{"visibility", JSON_STRING},
                                                 {"room_alias_name", JSON_STRING},
                                                 {"name", JSON_STRING},
                                                 {"topic", JSON_STRING},
                                                 {"invite", JSON_ARRAY},
                                                 {"invite_3pid", JSON_ARRAY},
                                                 {"room_version", JSON_STRING},
                                                 {"creation_content", JSON_OBJECT},
                                                 {"initial_state", JSON_ARRAY},
                                                 {"preset", JSON_STRING},
                                                 {"is_direct", JSON_BOOL},
                                                 {"power_level_content_override", JSON_OBJECT},
                                                 {NULL, JSON_NULL}};
    if (!call_members_fit(call, call->json, members, answer))
        return false;
    json_each (invitee, json_get_array(call->json, "invite")) {
        if (json_is(invitee, JSON_STRING) && user_id_is_valid(invitee->text))
            continue;
        *answer = call_fail(call, FAULT_INVALID_PARAM, "invite must list user ids");
        return false;
    }
    json_each (state, json_get_array(call->json, "initial_state")) {
        const struct json *key = json_get_cstr(state, "state_key");
        if (!slice_is_absent(json_get_string(state, "type")) && json_get_object(state, "content") &&
            (!key || json_is(key, JSON_STRING)))
            continue;
        *answer = call_fail(call, FAULT_BAD_JSON, "initial_state must list events with type and content");
        return false;
    }
    struct slice visibility = json_get_string(call->json, "visibility");
    if (!slice_is_absent(visibility) && !slice_eq(visibility, SLICE("public")) && !slice_eq(visibility, SLICE("private"))) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "visibility is public or private");
        return false;
    }
    const struct json *invite_3pid = json_get_array(call->json, "invite_3pid");
    if (invite_3pid && invite_3pid->count) {
        *answer = call_fail(call, FAULT_UNRECOGNIZED, "Invites by e-mail or phone need an identity server; none is configured");
        return false;
    }
    return true;
}

/* Version 12: additional_creators of creation_content, as its authorisation rules want them. */
static bool creators_are_valid(const struct json *body)
{
    const struct json *creators = json_get_cstr(json_get_object(body, "creation_content"), "additional_creators");
    if (!creators)
        return true;
    if (!json_is(creators, JSON_ARRAY))
        return false;
    json_each (user, creators)
        if (!json_is(user, JSON_STRING) || !user_id_is_valid(user->text) || !server_name_is_valid(id_server_name(user->text)))
            return false;
    return true;
}

/* The alias must be free before anything is made. False: *answer. */
static bool check_alias(struct call *call, struct slice *alias, struct reply *answer)
{
    struct slice local = json_get_string(call->json, "room_alias_name"), room_id;
    struct slices servers;
    *alias = SLICE_ABSENT;
    if (slice_is_absent(local))
        return true;
    *alias = arena_printf(call->arena, "#%.*s:%.*s", PRI(local), PRI(server_name()));
    bool colon = local.len && memchr(local.at, ':', local.len) != NULL;
    if (local.len == 0 || colon || slice_has_nul(local) || !room_alias_is_valid(*alias)) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "room_alias_name is not the local part of an alias");
        return false;
    }
    enum fault fault = alias_resolve(call, *alias, &room_id, &servers);
    if (fault == FAULT_NOT_FOUND)
        return true;
    *answer = fault ? call_fail(call, fault, NULL) : call_fail(call, FAULT_ROOM_IN_USE, NULL);
    answer->status = fault ? answer->status : 400;
    return false;
}

static enum fault invite_everyone(struct call *call, struct slice room_id, struct invite_failure *failure)
{
    bool is_direct = json_get_bool(call->json, "is_direct", false);
    json_each (invitee, json_get_array(call->json, "invite")) {
        if (slice_eq(invitee->text, call->requester.user_id))
            continue;
        enum fault fault = invite(call, room_id, invitee->text, SLICE_ABSENT, is_direct, failure);
        if (fault)
            return fault;
    }
    return FAULT_OK;
}

struct reply create_room(struct call *call)
{
    struct reply answer;
    struct slice alias, member;
    struct room_events events;
    struct room_create_request request;
    struct room_create_reply created;
    struct invite_failure failure;
    if (!check_body(call, &answer) || !check_alias(call, &alias, &answer))
        return answer;
    struct slice version_id = json_get_string(call->json, "room_version");
    if (slice_is_absent(version_id))
        version_id = slice_from_cstr(worker_settings(call->worker)->default_room_version);
    const struct room_version *version = room_version_find(version_id);
    if (!version)
        return call_fail(call, FAULT_UNSUPPORTED_ROOM_VERSION, NULL);
    if (version->privileged_creators && !creators_are_valid(call->json))
        return call_fail(call, FAULT_INVALID_PARAM, "additional_creators must list user ids");
    enum fault fault = member_content(call, "join", call->requester.user_id, SLICE_ABSENT, SLICE_ABSENT, false, &member);
    if (fault)
        return call_fail(call, fault, NULL);
    const char *why = room_events_compose(call, version, alias, member, &events);
    if (why)
        return call_fail(call, FAULT_BAD_JSON, why);
    room_events_request(&events, call->requester.user_id, version_id, &request);
    fault = call_room_create(call, call->requester.user_id, &request, &created);
    if (fault == FAULT_REJECTED || fault == FAULT_BAD_JSON || fault == FAULT_TOO_LARGE)
        return call_failf(call, fault == FAULT_REJECTED ? FAULT_INVALID_ROOM_STATE : fault, "%.*s", PRI(call->why));
    if (fault)
        return call_fail(call, fault, NULL);
    if (!slice_is_absent(alias) && (fault = alias_insert(call, alias, created.room_id, call->requester.user_id)))
        return call_fail(call, fault == FAULT_ALIAS_IN_USE ? FAULT_ROOM_IN_USE : fault, NULL);
    if (slice_eq(json_get_string(call->json, "visibility"), SLICE("public")) &&
        worker_settings(call->worker)->room_list_publication) {
        struct db_batch *batch = call_batch(call);
        q_publish_room(batch, created.room_id, clock_wall_ms());
        if ((fault = db_run(batch)))
            return call_fail(call, fault, NULL);
    }
    if ((fault = invite_everyone(call, created.room_id, &failure)))
        return invite_fail(call, fault, &failure);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "room_id", created.room_id);
    json_put_string(&w, "room_alias", alias);
    json_end_object(&w);
    return reply_json(&w);
}
