/* Invites and knocks: stripped state. Of rooms elsewhere it came with the invite; of rooms here it is taken from the current state.
 */
#include "workers/sync/answer.h"
#include "workers/sync/queries.h"

static bool is_offered_here(const struct sync_room *room)
{
    return (room->section == SECTION_INVITE || room->section == SECTION_KNOCK) && slice_is_absent(room->stripped_state);
}

/* Invites of ignored users are not shown ("Ignoring users"). */
static void drop_ignored(struct sync_work *work)
{
    for (size_t i = 0; i < work->room_count; i++) {
        struct sync_room *room = &work->rooms[i];
        if (room->section == SECTION_INVITE &&
            map_has(work->ignored, json_get_string(json_parse(work->call->arena, room->member_json, JSON_LAX, NULL), "sender")))
            room->section = SECTION_NONE;
    }
}

enum fault invites_read(struct sync_work *work)
{
    struct sync_room **rooms;
    struct i64s nids;
    drop_ignored(work);
    if (rooms_where(work, is_offered_here, &rooms, &nids) == 0)
        return FAULT_OK;
    struct db_batch *batch = call_batch(work->call);
    struct db_result *result = q_invite_states(batch, work->request->user_id, nids);
    enum fault fault = db_run(batch);
    struct invite_states_row row;
    while (!fault && invite_states_next(result, &row)) {
        struct sync_room *room = rooms[row.ordinal - 1];
        struct event_row event = EVENT_ROW_OF(row, room);
        row_list_add(work->call->arena, &room->offered, &event);
    }
    return fault;
}

static void put_stripped(struct json_writer *w, const struct json *event)
{
    json_begin_object(w);
    json_put_string(w, "type", json_get_string(event, "type"));
    json_put_string(w, "state_key", json_get_string(event, "state_key"));
    json_put_string(w, "sender", json_get_string(event, "sender"));
    const struct json *content = json_get_object(event, "content");
    json_put_raw(w, "content", content ? content->span : SLICE("{}"));
    int64_t sent_ts;
    if (slice_eq(json_get_string(event, "type"), SLICE("m.room.create")) && json_get_i64(event, "origin_server_ts", &sent_ts))
        json_put_i64(w, "origin_server_ts",
                     sent_ts); /* the create event is given in full (MSC4311): who judges an invite needs it */
    json_end_object(w);
}

static bool is_own_member(const struct sync_work *work, const struct json *event)
{
    return slice_eq(json_get_string(event, "type"), SLICE("m.room.member")) &&
           slice_eq(json_get_string(event, "state_key"), work->request->user_id);
}

void invite_write(const struct sync_work *work, struct json_writer *w, const struct sync_room *room)
{
    struct arena *arena = work->call->arena;
    bool own = false;
    for (size_t i = 0; i < room->offered.count; i++) {
        const struct json *event = json_parse(arena, room->offered.at[i].json, JSON_LAX, NULL);
        own |= is_own_member(work, event);
        put_stripped(w, event);
    }
    const struct json *stripped = json_parse(arena, room->stripped_state, JSON_LAX, NULL), *member;
    json_each (event, json_is(stripped, JSON_ARRAY) ? stripped : NULL) {
        if (!json_is(event, JSON_OBJECT) || is_own_member(work, event))
            continue; /* the event itself follows */
        put_stripped(w, event);
    }
    if (!own && (member = json_parse(arena, room->member_json, JSON_LAX, NULL)))
        put_stripped(w, member);
}
