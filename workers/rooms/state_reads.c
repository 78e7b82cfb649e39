/* Room state and members: GET …/state, …/state/{type}/{key}, …/members, …/joined_members, …/joined_rooms. */
#include "lib/store/timeline_token.h"
#include "proto/dispatch.h"
#include "workers/rooms/queries.h"
#include "workers/rooms/reader.h"

static struct reply rows_reply(struct call *call, const struct event_rows *rows, const char *wrapper)
{
    struct render_for who = {.user_id = call->requester.user_id, .device_id = call->requester.device_id};
    struct render_batch *render;
    enum fault fault = render_prepare(call, rows, &who, &render);
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    if (wrapper) {
        json_begin_object(&w);
        json_put_array(&w, wrapper);
    } else {
        json_begin_array(&w);
    }
    for (size_t i = 0; i < rows->count; i++)
        event_render(render, &w, &rows->at[i]);
    json_end_array(&w);
    if (wrapper)
        json_end_object(&w);
    return reply_json(&w);
}

struct reply room_state(struct call *call)
{
    struct reader reader;
    struct reply answer;
    struct event_rows rows;
    if (!reader_open(call, &reader, &answer))
        return answer;
    enum fault fault = reader_state(call, &reader, &rows);
    return fault ? call_fail(call, fault, NULL) : rows_reply(call, &rows, NULL);
}

struct reply room_state_event(struct call *call)
{
    struct reader reader;
    struct reply answer;
    struct event_rows rows;
    struct slice type = call_param(call, "eventType"), key = call_param(call, "stateKey"), format = call_query(call, "format");
    if (slice_is_absent(key))
        key = SLICE("");
    if (!reader_open(call, &reader, &answer))
        return answer;
    enum fault fault;
    if (reader.departed) {
        fault = reader_state(call, &reader, &rows);
    } else {
        rows = (struct event_rows){arena_new(call->arena, struct event_row), 1};
        fault = current_state_event(call, reader.room.room_nid, arena_cstr(call->arena, type), key, rows.at);
    }
    if (fault && fault != FAULT_NOT_FOUND)
        return call_fail(call, fault, NULL);
    for (size_t i = 0; !fault && i < rows.count; i++) {
        if (!slice_eq(rows.at[i].type, type) || !slice_eq(rows.at[i].state_key, key))
            continue;
        struct event_rows one = {&rows.at[i], 1};
        struct render_for who = {.user_id = call->requester.user_id, .device_id = call->requester.device_id};
        struct render_batch *render;
        if ((fault = render_prepare(call, &one, &who, &render)))
            return call_fail(call, fault, NULL);
        struct json_writer w = json_writer_in(call->arena);
        event_render(render, &w, one.at);
        struct slice whole = json_done(&w);
        if (slice_eq(format, SLICE("event")))
            return reply_raw_json(whole);
        return reply_raw_json(json_get_object(json_parse(call->arena, whole, JSON_LAX, NULL), "content")->span);
    }
    return call_fail(call, FAULT_NOT_FOUND, "No such state event");
}

struct reply members(struct call *call)
{
    struct reader reader;
    struct reply answer;
    struct event_rows rows;
    struct slice at = call_query(call, "at"), wanted = call_query(call, "membership"),
                 unwanted = call_query(call, "not_membership");
    int64_t before;
    if (!reader_open(call, &reader, &answer))
        return answer;
    enum fault fault = FAULT_OK;
    if (slice_is_absent(at) || at.len == 0)
        fault = reader_state(call, &reader, &rows);
    else if (!(fault = timeline_token_resolve(call, reader.room.room_nid, at, &before)))
        fault = reader_state_at(call, &reader, before, &rows);
    if (fault)
        return fault == FAULT_INVALID_PARAM ? call_fail(call, fault, "at is not a token of ours") : call_fail(call, fault, NULL);
    size_t kept = 0;
    for (size_t i = 0; i < rows.count; i++) {
        if (!slice_eq(rows.at[i].type, SLICE("m.room.member")))
            continue;
        struct slice membership = json_get_string(event_row_parse(call->arena, &rows.at[i])->content, "membership");
        if ((slice_is_absent(wanted) || slice_eq(membership, wanted)) &&
            (slice_is_absent(unwanted) || !slice_eq(membership, unwanted)))
            rows.at[kept++] = rows.at[i];
    }
    rows.count = kept;
    return rows_reply(call, &rows, "chunk");
}

struct reply joined_members(struct call *call)
{
    struct reader reader;
    struct reply answer;
    struct membership_row *rows;
    size_t count;
    if (!reader_open(call, &reader, &answer))
        return answer;
    if (!reader.joined)
        return call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    enum fault fault = membership_list(call, reader.room.room_nid, SLICE("join"), &rows, &count);
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "joined");
    for (size_t i = 0; i < count; i++) {
        json_key(&w, rows[i].user_id);
        json_begin_object(&w);
        json_key_cstr(&w, "display_name"); /* null when there is none */
        json_add_string(&w, rows[i].displayname);
        json_key_cstr(&w, "avatar_url");
        json_add_string(&w, rows[i].avatar_url);
        json_end_object(&w);
    }
    json_end_object(&w);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply joined_rooms(struct call *call)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_rooms_of_user(batch, call->requester.user_id);
    enum fault fault = db_run(batch);
    struct rooms_of_user_row row;
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_array(&w, "joined_rooms");
    while (rooms_of_user_next(result, &row))
        json_add_string(&w, row.room_id);
    json_end_array(&w);
    json_end_object(&w);
    return reply_json(&w);
}
