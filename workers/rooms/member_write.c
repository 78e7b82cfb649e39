/* Membership writes; see member_write.h. */
#include "workers/rooms/member_write.h"

#include "lib/matrix/ids.h"
#include "proto/stubs.h"
#include "workers/rooms/queries.h"

bool body_reason(struct call *call, struct slice *reason)
{
    const struct json *value = json_get_cstr(call->json, "reason");
    *reason = json_string(value);
    return !value || json_is(value, JSON_STRING);
}

/* A client may say more about its join than we know of. */
static void put_custom(struct call *call, struct json_writer *w)
{
    static const char *const ours[] = {
        "membership", "displayname", "avatar_url", "reason", "third_party_signed", "is_direct", "join_authorised_via_users_server"};
    bool is_join = call->route && call->route->rate == RATE_JOIN;
    json_each (member, is_join ? call->json : NULL) {
        bool is_ours = false;
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
            is_ours |= slice_eq(member->key, slice_from_cstr(ours[i]));
        if (is_ours)
            continue;
        json_key(w, member->key);
        json_add_value(w, member);
    }
}

enum fault member_content(struct call *call, const char *membership, struct slice user_id, struct slice reason,
                          struct slice authorised_via, bool is_direct, struct slice *out)
{
    struct slice displayname = SLICE_ABSENT, avatar_url = SLICE_ABSENT;
    if (slice_eq(id_server_name(user_id), server_name())) {
        struct db_batch *batch = call_batch(call);
        struct db_result *result = q_profile_for_member(batch, user_id);
        enum fault fault = db_run(batch);
        if (fault)
            return fault;
        struct profile_for_member_row row;
        while (profile_for_member_next(result, &row)) {
            if (slice_eq(row.field, SLICE("displayname")))
                displayname = row.value;
            else
                avatar_url = row.value;
        }
    }
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "membership", membership);
    json_put_raw(&w, "displayname", displayname);
    json_put_raw(&w, "avatar_url", avatar_url);
    json_put_string(&w, "reason", reason);
    json_put_string(&w, "join_authorised_via_users_server", authorised_via);
    if (is_direct)
        json_put_bool(&w, "is_direct", true);
    if (strcmp(membership, "join") == 0)
        put_custom(call, &w);
    json_end_object(&w);
    *out = json_done(&w);
    return FAULT_OK;
}

struct slice member_content_own(struct call *call, struct slice content, const struct json *own)
{
    const struct slice voucher = SLICE("join_authorised_via_users_server");
    if (!own)
        return content;
    const struct json *ours = json_parse(call->arena, content, JSON_LAX, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (member, ours) {
        if (json_get(own, member->key) && !slice_eq(member->key, voucher))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_each (member, own) {
        if (slice_eq(member->key, voucher))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_end_object(&w);
    return json_done(&w);
}

enum fault member_append(struct call *call, struct slice room_id, struct slice sender, struct slice target, struct slice content,
                         struct slice *event_id)
{
    const struct slice type = SLICE("m.room.member");
    struct room_append_request request = {
        .room_id = room_id, .types = {&type, 1}, .state_keys = {&target, 1}, .senders = {&sender, 1}, .contents = {&content, 1}};
    struct room_append_reply reply;
    enum fault fault = call_room_append(call, room_id, &request, &reply);
    if (!fault && event_id)
        *event_id = reply.event_ids.at[0];
    return fault;
}

struct reply member_fail(struct call *call, enum fault fault)
{
    if (fault == FAULT_REJECTED)
        return call_failf(call, FAULT_FORBIDDEN, "Not allowed: %.*s", PRI(call->why));
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    return call_fail(call, fault, NULL);
}

enum fault room_is_ours(struct call *call, struct slice room_id, struct room_facts *room, bool *ours)
{
    *ours = false;
    enum fault fault = room_find(call, room_id, room);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    if (room->extremities.len)
        *ours = server_is_joined(call, room->room_nid, server_name(), &fault);
    return fault;
}
