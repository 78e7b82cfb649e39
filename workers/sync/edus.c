/* Ephemeral units out and in. Out: to every other server with members in the room. In: message sync_receive_edus, where a server
 * speaks for its own users only, and only about rooms that they are in (Server-Server API "Typing Notifications", "Receipts",
 * "Presence"). */
#include "workers/sync/edus.h"

#include "lib/base/log.h"
#include "lib/kit/stream.h"
#include "lib/matrix/ids.h"
#include "lib/store/room_read.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/sync/edu_shapes.h"
#include "workers/sync/presence.h"
#include "workers/sync/queries.h"
#include "workers/sync/receipts.h"
#include "workers/sync/typing.h"

enum { REMOTE_TYPING_MS = 60000, PRESENCE_MAX = 200 };

enum fault room_joined(struct call *call, struct slice room_id, int64_t *room_nid)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_joined_in(batch, room_id, call->requester.user_id);
    enum fault fault = db_run(batch);
    struct joined_in_row row;
    if (fault)
        return fault;
    if (!joined_in_next(result, &row) || !slice_eq(row.membership, SLICE("join")))
        return FAULT_FORBIDDEN;
    *room_nid = row.room_nid;
    return FAULT_OK;
}

void edus_to_room(struct call *call, int64_t room_nid, struct slice type, struct slice coalesce_key, struct slice content)
{
    struct slices servers;
    if (room_servers(call, room_nid, &servers))
        return;
    struct slice *columns[4];
    size_t count = 0;
    for (size_t i = 0; i < 4; i++)
        columns[i] = arena_new_array(call->arena, servers.len, struct slice);
    for (size_t i = 0; i < servers.len; i++) {
        if (slice_eq(servers.at[i], server_name()))
            continue;
        columns[0][count] = servers.at[i];
        columns[1][count] = type;
        columns[2][count] = coalesce_key;
        columns[3][count++] = content;
    }
    if (count == 0)
        return;
    struct enqueue_edus_request request = {.destinations = {columns[0], count},
                                           .types = {columns[1], count},
                                           .coalesce_keys = {columns[2], count},
                                           .contents = {columns[3], count}};
    struct enqueue_edus_reply reply;
    enum fault fault = call_enqueue_edus(call, SLICE_ABSENT, &request, &reply);
    if (fault)
        log_event(LOG_DEBUG, "an ephemeral unit is not sent", LOG_STR("type", type), LOG_CSTR("fault", fault_facts(fault)->name));
}

/* ---- from other servers */

/* Marks those that are joined. */
static enum fault joined_of(struct call *call, struct slices rooms, struct slices users, bool *joined)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_joined_of(batch, rooms, users);
    enum fault fault = db_run(batch);
    struct joined_of_row row;
    while (!fault && joined_of_next(result, &row))
        joined[row.ordinal - 1] = true;
    return fault;
}

static enum fault take_typing(struct call *call, struct slice origin, const struct json *content)
{
    struct slice room_id = json_get_string(content, "room_id"), user_id = json_get_string(content, "user_id");
    bool joined = false;
    if (!room_id_is_valid(room_id) || slice_has_nul(room_id) || !edu_speaks_for(origin, user_id))
        return FAULT_OK;
    enum fault fault = joined_of(call, (struct slices){&room_id, 1}, (struct slices){&user_id, 1}, &joined);
    if (joined)
        stream_publish(call->worker, STREAM_typing, room_id, 0, 0,
                       typing_pack(call->arena, user_id, json_get_bool(content, "typing", false), REMOTE_TYPING_MS));
    return fault;
}

static enum fault take_receipts(struct call *call, struct slice origin, const struct json *content)
{
    struct receipt *receipts = arena_new_array(call->arena, RECEIPTS_MAX, struct receipt);
    size_t count = edu_receipts(origin, content, receipts), kept = 0;
    struct slice *rooms = arena_new_array(call->arena, count, struct slice),
                 *users = arena_new_array(call->arena, count, struct slice);
    bool *joined = arena_new_array(call->arena, count, bool);
    for (size_t i = 0; i < count; i++) {
        rooms[i] = receipts[i].room_id;
        users[i] = receipts[i].user_id;
    }
    enum fault fault = count ? joined_of(call, (struct slices){rooms, count}, (struct slices){users, count}, joined) : FAULT_OK;
    for (size_t i = 0; i < count; i++)
        if (joined[i])
            receipts[kept++] = receipts[i];
    return fault ? fault : receipts_store(call, receipts, kept);
}

static void take_presence(struct call *call, struct slice origin, const struct json *content)
{
    size_t count = 0;
    if (!worker_settings(call->worker)->presence)
        return;
    json_each (push, json_get_array(content, "push"))
        if (count++ < PRESENCE_MAX && edu_speaks_for(origin, json_get_string(push, "user_id")))
            presence_from_remote(call, json_get_string(push, "user_id"), push);
}

enum fault answer_sync_receive_edus(struct call *call, const struct sync_receive_edus_request *request,
                                    struct sync_receive_edus_reply *reply)
{
    (void)reply;
    for (size_t i = 0; i < request->types.len && i < request->contents.len; i++) {
        struct slice type = request->types.at[i];
        const struct json *content = json_parse(call->arena, request->contents.at[i], JSON_LAX, NULL);
        enum fault fault = FAULT_OK;
        if (!json_is(content, JSON_OBJECT))
            continue;
        if (slice_eq(type, SLICE("m.typing")))
            fault = take_typing(call, request->origin, content);
        else if (slice_eq(type, SLICE("m.receipt")))
            fault = take_receipts(call, request->origin, content);
        else if (slice_eq(type, SLICE("m.presence")))
            take_presence(call, request->origin, content);
        if (fault)
            return fault;
    }
    return FAULT_OK;
}
