/* Rooms, memberships and current state, read-only; see room_read.h. */
#include "lib/store/room_read.h"

#include "lib/store/event_collect.h"
#include "lib/store/queries.h"

enum fault room_find(struct call *call, struct slice room_id, struct room_facts *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_room_by_id(batch, room_id);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    struct room_by_id_row row;
    if (!room_by_id_next(result, &row))
        return FAULT_NOT_FOUND;
    *out = (struct room_facts){row.room_nid,     row.version, row.depth,        row.head_pos,   row.tail_pos,
                               row.snapshot_nid, row.room_id, row.room_version, row.extremities};
    return FAULT_OK;
}

#define COPY_MEMBERSHIP(to, from) \
    (to) = (struct membership_row) \
    { \
        .room_nid = (from).room_nid, .event_nid = (from).event_nid, .since_pos = (from).since_pos, .pos = (from).pos, \
        .is_local = (from).is_local, .is_forgotten = (from).is_forgotten, .user_id = (from).user_id, .server = (from).server, \
        .membership = (from).membership, .displayname = (from).displayname, .avatar_url = (from).avatar_url, \
        .stripped_state = (from).stripped_state \
    }

enum fault membership_find(struct call *call, int64_t room_nid, struct slice user_id, struct membership_row *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_membership_one(batch, room_nid, user_id);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    struct membership_one_row row;
    if (!membership_one_next(result, &row))
        return FAULT_NOT_FOUND;
    COPY_MEMBERSHIP(*out, row);
    return FAULT_OK;
}

enum fault membership_list(struct call *call, int64_t room_nid, struct slice membership, struct membership_row **out, size_t *count)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_membership_all(batch, room_nid, membership);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    size_t room = (size_t)db_affected(result);
    struct membership_row *rows = arena_new_array(call->arena, room, struct membership_row);
    struct membership_all_row row;
    size_t filled = 0;
    for (; filled < room && membership_all_next(result, &row); filled++)
        COPY_MEMBERSHIP(rows[filled], row);
    *out = rows;
    *count = filled;
    return FAULT_OK;
}

bool server_is_joined(struct call *call, int64_t room_nid, struct slice server, enum fault *fault)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_server_joined(batch, room_nid, server);
    struct server_joined_row row;
    *fault = db_run(batch);
    return *fault == FAULT_OK && server_joined_next(result, &row) && row.joined;
}

enum fault room_servers(struct call *call, int64_t room_nid, struct slices *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_room_server_list(batch, room_nid);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    size_t room = (size_t)db_affected(result);
    struct slice *servers = arena_new_array(call->arena, room, struct slice);
    struct room_server_list_row row;
    size_t filled = 0;
    while (filled < room && room_server_list_next(result, &row))
        servers[filled++] = row.server;
    *out = (struct slices){servers, filled};
    return FAULT_OK;
}

enum fault current_state_event(struct call *call, int64_t room_nid, const char *type, struct slice state_key, struct event_row *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_current_state_one(batch, room_nid, slice_from_cstr(type), state_key);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    struct event_rows rows;
    current_state_collect(call, result, false, &rows);
    if (rows.count == 0)
        return FAULT_NOT_FOUND;
    *out = rows.at[0];
    return FAULT_OK;
}

enum fault current_state_events(struct call *call, int64_t room_nid, struct event_rows *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_current_state_all(batch, room_nid);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    current_state_collect(call, result, true, out);
    return FAULT_OK;
}
