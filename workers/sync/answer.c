/* The answer of /sync, written into one buffer: each part is left out when there is nothing in it. */
#include "lib/store/render.h"
#include "lib/store/timeline_token.h"
#include "workers/sync/answer.h"
#include "workers/sync/typing.h"
#include "workers/sync/unread.h"

enum { CHUNK_ROWS = 1000 };

/* Rooms are rendered in chunks: related events are looked up once per chunk, and its memory stays small. */
struct chunk {
    struct event_rows rows;
    struct slice *memberships;
    struct render_batch *render;
    size_t next; /* row to be written next */
};

void put_event_list(struct json_writer *w, const char *key, struct slice events)
{
    if (slice_is_absent(events))
        return;
    json_put_object(w, key);
    json_put_raw(w, "events", events);
    json_end_object(w);
}

static size_t rows_of(const struct sync_room *room)
{
    return room->timeline.count + room->state.count;
}

static enum fault chunk_prepare(struct sync_work *work, struct sync_room **rooms, size_t count, size_t total, struct chunk *chunk)
{
    struct arena *arena = work->call->arena;
    *chunk = (struct chunk){.rows = {arena_new_array(arena, total, struct event_row), total},
                            .memberships = arena_new_array(arena, total, struct slice)};
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < rooms[i]->timeline.count; k++) {
            chunk->memberships[at] = rooms[i]->memberships[k];
            chunk->rows.at[at++] = rooms[i]->timeline.at[k];
        }
        for (size_t k = 0; k < rooms[i]->state.count; k++)
            chunk->rows.at[at++] = rooms[i]->state.at[k];
    }
    struct render_for reader = {.user_id = work->request->user_id,
                                .device_id = work->request->device_id,
                                .memberships = chunk->memberships,
                                .omit_room_id = true,
                                .federation_format = work->request->filter.federation_format};
    return render_prepare(work->call, &chunk->rows, &reader, &chunk->render);
}

static void put_events(struct sync_work *work, struct json_writer *w, const char *key, struct chunk *chunk, size_t count)
{
    json_put_array(w, key);
    for (size_t i = 0; i < count; i++) {
        const struct event_row *row = &chunk->rows.at[chunk->next++];
        if (!work->request->filter.event_fields) {
            event_render(chunk->render, w, row);
            continue;
        }
        struct json_writer whole = json_writer_in(work->call->arena);
        event_render(chunk->render, &whole, row);
        sync_filter_fields(w, work->call->arena, work->request->filter.event_fields, json_done(&whole));
    }
    json_end_array(w);
}

static void put_timeline_and_state(struct sync_work *work, struct json_writer *w, struct chunk *chunk, const struct sync_room *room)
{
    json_put_object(w, "timeline");
    put_events(work, w, "events", chunk, room->timeline.count);
    json_put_bool(w, "limited", room->limited);
    json_put_string(w, "prev_batch", timeline_token(work->call->arena, room->prev_pos));
    json_end_object(w);
    json_put_object(w, work->request->state_after ? work->request->state_after : "state");
    put_events(work, w, "events", chunk, room->state.count);
    json_end_object(w);
}

static void put_summary(struct json_writer *w, const struct sync_room *room)
{
    json_put_object(w, "summary");
    if (room->has_summary) {
        json_put_array(w, "m.heroes");
        for (size_t i = 0; i < room->heroes.len; i++)
            json_add_string(w, room->heroes.at[i]);
        json_end_array(w);
        json_put_i64(w, "m.joined_member_count", room->joined);
        json_put_i64(w, "m.invited_member_count", room->invited);
    }
    json_end_object(w);
}

static void put_counts(struct json_writer *w, int64_t notifications, int64_t highlights)
{
    json_put_i64(w, "notification_count", notifications);
    json_put_i64(w, "highlight_count", highlights);
}

void unread_write(struct json_writer *w, const struct unread *unread, bool by_thread)
{
    int64_t notifications = 0, highlights = 0;
    if (!unread)
        return;
    for (size_t i = 0; i < (by_thread ? 1 : unread->count); i++) {
        notifications += unread->threads[i].notifications;
        highlights += unread->threads[i].highlights;
    }
    json_put_object(w, "unread_notifications");
    put_counts(w, notifications, highlights);
    json_end_object(w);
    bool open = false;
    for (size_t i = 1; by_thread && i < unread->count; i++) {
        if (!unread->threads[i].notifications && !unread->threads[i].highlights)
            continue;
        if (!open)
            json_put_object(w, "unread_thread_notifications");
        open = true;
        json_key(w, unread->threads[i].thread_id);
        json_begin_object(w);
        put_counts(w, unread->threads[i].notifications, unread->threads[i].highlights);
        json_end_object(w);
    }
    if (open)
        json_end_object(w);
}

static void put_ephemeral(struct sync_work *work, struct json_writer *w, const struct sync_room *room)
{
    const struct event_filter *filter = &work->request->filter.ephemeral;
    bool of_room = event_filter_allows_room(filter, room->room_id);
    json_put_object(w, "ephemeral");
    json_put_array(w, "events");
    if (!slice_is_absent(room->typing) && of_room && event_filter_allows_type(filter, SLICE("m.typing")))
        json_add_raw(w, room->typing);
    if (!slice_is_absent(room->receipts) && of_room && event_filter_allows_type(filter, SLICE("m.receipt"))) {
        json_begin_object(w);
        json_put_cstr(w, "type", "m.receipt");
        json_put_raw(w, "content", room->receipts);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

static void put_joined(struct sync_work *work, struct json_writer *w, struct chunk *chunk, struct sync_room *room)
{
    json_key(w, room->room_id);
    json_begin_object(w);
    put_timeline_and_state(work, w, chunk, room);
    put_ephemeral(work, w, room);
    put_event_list(w, "account_data", slice_is_absent(room->account_data) ? SLICE("[]") : room->account_data);
    put_summary(w, room);
    unread_write(w, room->unread, work->request->filter.timeline.unread_thread_notifications);
    json_end_object(w);
}

static void put_left(struct sync_work *work, struct json_writer *w, struct chunk *chunk, struct sync_room *room)
{
    json_key(w, room->room_id);
    json_begin_object(w);
    put_timeline_and_state(work, w, chunk, room);
    put_event_list(w, "account_data", slice_is_absent(room->account_data) ? SLICE("[]") : room->account_data);
    json_end_object(w);
}

/* Joined or left rooms: chunk by chunk. */
static enum fault put_section(struct sync_work *work, struct json_writer *w, const char *key, enum section section,
                              void (*put)(struct sync_work *, struct json_writer *, struct chunk *, struct sync_room *))
{
    struct sync_room **rooms = arena_new_array(work->call->arena, work->room_count, struct sync_room *);
    size_t count = 0;
    for (size_t i = 0; i < work->room_count; i++)
        if (work->rooms[i].section == section && (section != SECTION_JOIN || work->rooms[i].is_told))
            rooms[count++] = &work->rooms[i];
    if (count == 0)
        return FAULT_OK;
    json_put_object(w, key);
    for (size_t from = 0, to; from < count; from = to) {
        size_t total = 0;
        for (to = from; to < count && (to == from || total + rows_of(rooms[to]) <= CHUNK_ROWS); to++)
            total += rows_of(rooms[to]);
        struct chunk chunk;
        enum fault fault = chunk_prepare(work, rooms + from, to - from, total, &chunk);
        if (fault)
            return fault;
        for (size_t i = from; i < to; i++)
            put(work, w, &chunk, rooms[i]);
    }
    json_end_object(w);
    return FAULT_OK;
}

static void put_offers(struct sync_work *work, struct json_writer *w, enum section section, const char *key, const char *state_key)
{
    bool open = false;
    for (size_t i = 0; i < work->room_count; i++) {
        const struct sync_room *room = &work->rooms[i];
        if (room->section != section)
            continue;
        if (!open)
            json_put_object(w, key);
        open = true;
        json_key(w, room->room_id);
        json_begin_object(w);
        json_put_object(w, state_key);
        json_put_array(w, "events");
        invite_write(work, w, room);
        json_end_array(w);
        json_end_object(w);
        json_end_object(w);
    }
    if (open)
        json_end_object(w);
}

static void put_users(struct json_writer *w, const char *key, struct slices users)
{
    json_put_array(w, key);
    for (size_t i = 0; i < users.len; i++)
        json_add_string(w, users.at[i]);
    json_end_array(w);
}

enum fault answer_write(struct sync_work *work, struct slice *out)
{
    struct json_writer w = json_writer_in(work->call->arena);
    enum fault fault;
    bool rooms = false;
    json_begin_object(&w);
    json_put_string(&w, "next_batch", sync_token_format(work->call->arena, &work->next));
    for (size_t i = 0; i < work->room_count && !rooms; i++)
        rooms = work->rooms[i].section != SECTION_NONE && (work->rooms[i].section != SECTION_JOIN || work->rooms[i].is_told);
    if (rooms) {
        json_put_object(&w, "rooms");
        if ((fault = put_section(work, &w, "join", SECTION_JOIN, put_joined)) ||
            (fault = put_section(work, &w, "leave", SECTION_LEAVE, put_left)))
            return fault;
        put_offers(work, &w, SECTION_INVITE, "invite", "invite_state");
        put_offers(work, &w, SECTION_KNOCK, "knock", "knock_state");
        json_end_object(&w);
    }
    put_event_list(&w, "account_data", work->account_data);
    put_event_list(&w, "to_device", work->to_device);
    put_event_list(&w, "presence", work->presence);
    if (work->devices_changed.len || work->devices_left.len) {
        json_put_object(&w, "device_lists");
        put_users(&w, "changed", work->devices_changed);
        put_users(&w, "left", work->devices_left);
        json_end_object(&w);
    }
    json_put_raw(&w, "device_one_time_keys_count", work->one_time_keys);
    json_put_raw(&w, "device_unused_fallback_key_types", work->fallback_keys);
    json_end_object(&w);
    *out = json_done(&w);
    return FAULT_OK;
}
