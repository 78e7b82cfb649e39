/* message room_outlier_membership: invites, knocks and their ends in rooms that we are not in. They are kept with the stripped
 * state that came along, so that sync can show them; there is no DAG to put them into. And message room_forget. */
#include "lib/kit/stream.h"
#include "lib/base/clock.h"
#include "lib/matrix/ids.h"
#include "lib/store/room_read.h"
#include "proto/dispatch.h"
#include "workers/events/compose.h"
#include "workers/events/inbound.h"
#include "workers/events/nids.h"
#include "workers/events/queries.h"

static enum fault room_ensure(struct call *call, struct slice room_id, struct slice room_version, struct hot_room **room)
{
    int64_t room_nid;
    enum fault fault = hot_room_get(call, room_id, room);
    if (fault != FAULT_NOT_FOUND || (fault = nid_take(call, &room_nid)))
        return fault;
    struct db_batch *batch = call_batch(call);
    q_room_insert(batch, room_nid, room_id, room_version);
    if ((fault = db_run(batch)))
        return fault;
    return hot_room_get(call, room_id, room);
}

static void tell_user(struct call *call, struct slice user_id, struct slice room_id, int64_t pos)
{
    stream_publish(call->worker, STREAM_membership, user_id, pos, 0, room_id);
}

static enum fault membership_of(struct call *call, int64_t room_nid, struct slice user_id, struct membership_now_row *row)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_membership_now(batch, room_nid, user_id);
    enum fault fault = db_run(batch);
    if (!fault && !membership_now_next(result, row))
        *row = (struct membership_now_row){0};
    return fault;
}

/* The auth events may be unknown here: nobody judges by this event. */
static enum fault store_event(struct call *call, struct hot_room *room, struct inbound *inbound, struct slice stripped_state)
{
    const struct event *event = inbound->event;
    const struct slice user_id = event->state_key, server = id_server_name(user_id);
    const struct slice membership = json_get_string(event->content, "membership");
    const struct slice displayname = json_get_string(event->content, "displayname"),
                       avatar = json_get_string(event->content, "avatar_url");
    int64_t nid = inbound->self.nid, depth = event->depth, stamp = event->origin_server_ts, flags = EVENT_OUTLIER | EVENT_STATE,
            end = 0;
    int64_t local = slice_eq(server, server_name()), since = room->head_pos;
    enum fault fault = nid ? FAULT_OK : nid_take(call, &nid);
    if (fault)
        return fault;
    struct db_batch *batch = call_batch(call);
    if (!inbound->self.nid)
        q_outlier_insert(batch, (struct i64s){&nid, 1}, (struct slices){&event->event_id, 1}, room->room_nid,
                         (struct i64s){&depth, 1}, (struct slices){&event->type, 1}, (struct slices){&event->state_key, 1},
                         (struct slices){&event->sender, 1}, (struct i64s){&stamp, 1}, (struct i64s){&flags, 1},
                         (struct i64s){&end, 0}, (struct i64s){&end, 1}, (struct slices){&event->raw, 1});
    const struct slice name = slice_has_nul(displayname) ? SLICE_ABSENT : displayname,
                       picture = slice_has_nul(avatar) ? SLICE_ABSENT : avatar;
    q_membership_set(batch, room->room_nid, (struct slices){&user_id, 1}, (struct slices){&server, 1},
                     (struct slices){&membership, 1}, (struct i64s){&nid, 1}, (struct i64s){&local, 1}, (struct slices){&name, 1},
                     (struct slices){&picture, 1}, (struct i64s){&since, 1}, stripped_state);
    if ((fault = db_run(batch)))
        return fault;
    tell_user(call, user_id, room->room_id, 0);
    return FAULT_OK;
}

/* The invite or knock that stands. NOT_FOUND: there is none. */
static enum fault standing_invite(struct call *call, struct hot_room *room, struct slice user_id, struct event_row *row)
{
    struct membership_row membership;
    struct event_rows rows;
    enum fault fault = membership_find(call, room->room_nid, user_id, &membership);
    if (fault)
        return fault;
    if (!slice_eq(membership.membership, SLICE("invite")) && !slice_eq(membership.membership, SLICE("knock")))
        return FAULT_NOT_FOUND;
    if ((fault = event_rows_by_nid(call, (struct i64s){&membership.event_nid, 1}, &rows)))
        return fault;
    *row = rows.count ? rows.at[0] : (struct event_row){0};
    return rows.count ? FAULT_OK : FAULT_NOT_FOUND;
}

/* Nobody of the other side answers: a leave event of our own on top of the invite, known to us alone, so that the user sees himself
 * out. */
static enum fault drop_invite(struct call *call, struct hot_room *room, struct slice user_id)
{
    struct event_row invite;
    struct inbound inbound = {0};
    enum fault fault = standing_invite(call, room, user_id, &invite);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    struct event_draft draft = {.type = SLICE("m.room.member"),
                                .state_key = user_id,
                                .sender = user_id,
                                .content = SLICE("{\"membership\":\"leave\"}"),
                                .origin_server_ts = clock_wall_ms()};
    struct slices above = {&invite.event_id, 1};
    struct slice built = event_build(call->arena, room->version, &draft, room->room_id, invite.depth + 1, above, above);
    if ((fault = event_parse(call->arena, room->version, built, &inbound.event, NULL)) ||
        (fault = compose_sign(call, room->version, &inbound.event, 1)))
        return fault;
    return store_event(call, room, &inbound, SLICE_ABSENT);
}

enum fault answer_room_outlier_membership(struct call *call, const struct room_outlier_membership_request *request,
                                          struct room_outlier_membership_reply *reply)
{
    if (!room_version_find(request->room_version))
        return FAULT_UNSUPPORTED_ROOM_VERSION;
    struct hot_room *room;
    enum fault fault = room_ensure(call, request->room_id, request->room_version, &room);
    if (fault)
        return fault;
    if (request->forget)
        return drop_invite(call, room, request->user_id);
    struct inbound inbound;
    const char *why = NULL;
    if ((fault = inbound_parse(call, room->version, request->room_id, request->event, &inbound, &why)) ||
        (fault = inbound_lookup(call, room, &inbound, &why))) {
        call->why = slice_from_cstr(why);
        return fault;
    }
    if (!event_is(inbound.event, "m.room.member") || !event_is_state(inbound.event) ||
        !slice_eq(inbound.event->state_key, request->user_id))
        return FAULT_BAD_JSON;
    reply->event_id = inbound.event->event_id;
    struct membership_now_row now;
    if ((fault = membership_of(call, room->room_nid, request->user_id, &now)))
        return fault;
    if (now.server_joined && room->extremity_count)
        return FAULT_OK; /* we are in the room: the event comes with its DAG */
    return store_event(call, room, &inbound, request->stripped_state);
}

enum fault answer_room_forget(struct call *call, const struct room_forget_request *request, struct room_forget_reply *reply)
{
    struct hot_room *room;
    enum fault fault = hot_room_get(call, request->room_id, &room);
    if (fault)
        return fault;
    struct db_batch *batch = call_batch(call);
    struct db_result *forgotten = q_membership_forget(batch, room->room_nid, request->user_id);
    struct db_result *now = q_membership_now(batch, room->room_nid, request->user_id);
    struct membership_now_row row;
    if ((fault = db_run(batch)))
        return fault;
    if (db_affected(forgotten) || !membership_now_next(now, &row) || slice_is_absent(row.membership))
        return FAULT_OK;
    return FAULT_BAD_STATE;
}
