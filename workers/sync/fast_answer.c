/* The fast path's answer: entries of the log, sorted into rooms, judged and written as answer.c does it. */
#include "workers/sync/fast_answer.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/matrix/event.h"
#include "lib/store/timeline_token.h"
#include "workers/sync/answer.h"
#include "workers/sync/lazy.h"
#include "workers/sync/typing.h"

enum { RECEIPTS_TOLD_MAX = 256 };

/* ---- sorting what was found into rooms */

static struct told_room *told_room_of(struct telling *telling, struct slice room_id)
{
    for (size_t i = 0; i < telling->count; i++)
        if (slice_eq(telling->rooms[i]->room_id, room_id))
            return telling->rooms[i];
    struct told_room *room = arena_new(telling->call->arena, struct told_room);
    room->room_id = room_id;
    telling->rooms[telling->count++] = room;
    return room;
}

/* Before the event before which it stands. */
static void insert_event(struct told_room *room, struct ring_entry *entry)
{
    size_t at = room->event_count++;
    for (; at && room->events[at - 1]->room_pos > entry->room_pos; at--)
        room->events[at] = room->events[at - 1];
    room->events[at] = entry;
}

/* False: not sure. */
static bool take_event(struct telling *telling, struct told_room *room, struct ring_entry *entry)
{
    const struct sync_request *request = telling->request;
    const struct event_filter *filter = &request->filter.timeline;
    if (reader_ignores(telling->view->ignored, telling->view->ignored_count, entry->sender))
        return false;
    if (entry->room_pos > room->counts.head_pos)
        room->counts.head_pos = entry->room_pos;
    if (!slice_eq(entry->sender, request->user_id) && unread_counts(entry->type)) {
        const struct json *content = json_get_object(json_parse(telling->call->arena, entry->payload, JSON_LAX, NULL), "content");
        struct judgement judgement = unread_judge(entry->type, content, request->user_id);
        if (!slice_eq(judgement.thread_id, SLICE("main")) && filter->unread_thread_notifications)
            return false;
        bool full = room->counts.all.notifications >= UNREAD_MAX; /* the SQL path counts no further */
        if (!full)
            unread_add(&room->counts.all, judgement, room->counts.loudness);
        if (!full && slice_eq(judgement.thread_id, SLICE("main")))
            unread_add(&room->counts.main, judgement, room->counts.loudness);
    }
    if (!event_filter_allows(filter, entry->type, entry->sender, NULL) || !event_filter_allows_room(filter, room->room_id))
        return true;
    if (request->filter.state.lazy_load_members &&
        !lazy_was_sent(lazy_speaker_hash(request->user_id, request->device_id, room->room_id, entry->sender)))
        return false;
    insert_event(room, entry);
    return (int64_t)room->event_count <= filter->limit;
}

static bool take_receipts(struct telling *telling, struct told_room *room, const struct ring_entry *entry)
{
    const struct sync_request *request = telling->request;
    const struct event_filter *filter = &request->filter.ephemeral;
    json_each (one, json_parse(telling->call->arena, entry->payload, JSON_LAX, NULL)) {
        const struct json *data = json_get_object(one, "data");
        struct receipt receipt = {.user_id = json_get_string(one, "user_id"),
                                  .type = json_get_string(one, "type"),
                                  .thread_id = json_get_string(data, "thread_id"),
                                  .event_id = json_get_string(one, "event_id"),
                                  .data = data ? data->span : SLICE("{}")};
        if (slice_eq(receipt.user_id, request->user_id) ||
            reader_ignores(telling->view->ignored, telling->view->ignored_count, receipt.user_id))
            return false; /* what is unread changes */
        if (slice_eq(receipt.type, SLICE("m.read.private")) || !event_filter_allows_type(filter, SLICE("m.receipt")) ||
            !event_filter_allows_room(filter, room->room_id))
            continue;
        if (!room->receipts)
            room->receipts = arena_new_array(telling->call->arena, RECEIPTS_TOLD_MAX, struct receipt);
        size_t at = 0;
        while (at < room->receipt_count &&
               !(slice_eq(room->receipts[at].user_id, receipt.user_id) && slice_eq(room->receipts[at].type, receipt.type) &&
                 slice_eq(room->receipts[at].thread_id, receipt.thread_id)))
            at++;
        if (at == RECEIPTS_TOLD_MAX)
            return false;
        room->receipts[at] = receipt;
        room->receipt_count += at == room->receipt_count;
    }
    return true;
}

bool telling_sort(struct telling *telling)
{
    struct fast_view *view = telling->view;
    telling->rooms = arena_new_array(telling->call->arena, TOLD_MAX, struct told_room *);
    for (size_t i = 0; i < view->found.count; i++) {
        struct ring_entry *entry = view->found.entries[i];
        size_t known = telling->count;
        struct told_room *room = told_room_of(telling, entry->room_id);
        if (telling->count > known)
            room->counts = view->counts[i];
        if (!room->counts.counts_known ||
            !(entry->kind == RING_EVENT ? take_event(telling, room, entry) : take_receipts(telling, room, entry)))
            return false;
    }
    const struct event_filter *filter = &telling->request->filter.ephemeral;
    for (size_t i = 0; i < view->typing_count; i++) {
        struct slice room_id = slice_from_cstr(view->typing[i]);
        if (!event_filter_allows_type(filter, SLICE("m.typing")) || !event_filter_allows_room(filter, room_id))
            continue;
        size_t known = telling->count;
        struct told_room *room = told_room_of(telling, arena_copy(telling->call->arena, room_id));
        if (telling->count > known)
            room->counts = view->typing_counts[i];
        if (!room->counts.counts_known)
            return false;
        room->typing = typing_event(telling->call->arena, room_id, ephemeral_after(view->base.serial));
    }
    return true;
}

bool told_room_is_told(const struct told_room *room)
{
    return room->event_count || room->receipt_count || !slice_is_absent(room->typing);
}

/* ---- writing: as answer.c does */

static void put_event(struct telling *telling, struct json_writer *w, const struct ring_entry *entry)
{
    struct arena *arena = telling->call->arena;
    const struct json *json = json_parse(arena, entry->payload, JSON_LAX, NULL);
    int64_t now_ms = clock_wall_ms();
    struct json_writer u = json_writer_in(arena);
    json_begin_object(&u);
    json_put_i64(&u, "age", now_ms > entry->origin_server_ts ? now_ms - entry->origin_server_ts : 0);
    if (slice_eq(entry->sender, telling->request->user_id) && !slice_is_absent(entry->device_id) &&
        slice_eq(entry->device_id, telling->request->device_id))
        json_put_string(&u, "transaction_id", entry->txn_id);
    json_put_cstr(&u, "membership", "join");
    json_end_object(&u);
    struct event event = {.event_id = entry->event_id,
                          .type = entry->type,
                          .sender = entry->sender,
                          .origin_server_ts = entry->origin_server_ts,
                          .content = json_get_object(json, "content"),
                          .json = json};
    event_for_client(w, &event, json_done(&u));
}

static int by_place(const void *left, const void *right)
{
    const struct receipt *a = left, *b = right;
    int order = slice_cmp(a->event_id, b->event_id);
    order = order ? order : slice_cmp(a->type, b->type);
    order = order ? order : slice_cmp(a->user_id, b->user_id);
    return order ? order : slice_cmp(a->thread_id, b->thread_id);
}

static void put_receipts(struct telling *telling, struct json_writer *w, struct told_room *room)
{
    struct receipts_writer content;
    qsort(room->receipts, room->receipt_count, sizeof *room->receipts, by_place);
    receipts_writer_begin(&content, telling->call->arena);
    for (size_t i = 0; i < room->receipt_count; i++)
        receipts_writer_add(&content, room->receipts[i].event_id, room->receipts[i].type, room->receipts[i].user_id,
                            room->receipts[i].data);
    json_begin_object(w);
    json_put_cstr(w, "type", "m.receipt");
    json_put_raw(w, "content", receipts_writer_end(&content));
    json_end_object(w);
}

static void put_room(struct telling *telling, struct json_writer *w, struct told_room *room)
{
    struct unread_thread counts =
        telling->request->filter.timeline.unread_thread_notifications ? room->counts.main : room->counts.all;
    struct unread unread = {&counts, 1, room->counts.loudness};
    int64_t prev_pos = room->event_count ? room->events[0]->room_pos : room->counts.head_pos + 1;
    json_key(w, room->room_id);
    json_begin_object(w);
    json_put_object(w, "timeline");
    json_put_array(w, "events");
    for (size_t i = 0; i < room->event_count; i++)
        put_event(telling, w, room->events[i]);
    json_end_array(w);
    json_put_bool(w, "limited", false);
    json_put_string(w, "prev_batch", timeline_token(telling->call->arena, prev_pos));
    json_end_object(w);
    put_event_list(w, telling->request->state_after ? telling->request->state_after : "state", SLICE("[]"));
    json_put_object(w, "ephemeral");
    json_put_array(w, "events");
    if (!slice_is_absent(room->typing))
        json_add_raw(w, room->typing);
    if (room->receipt_count)
        put_receipts(telling, w, room);
    json_end_array(w);
    json_end_object(w);
    put_event_list(w, "account_data", SLICE("[]"));
    json_put_object(w, "summary");
    json_end_object(w);
    unread_write(w, &unread, telling->request->filter.timeline.unread_thread_notifications);
    json_end_object(w);
}

struct slice telling_write(struct telling *telling, struct slice token)
{
    struct json_writer w = json_writer_in(telling->call->arena);
    bool open = false;
    json_begin_object(&w);
    json_put_string(&w, "next_batch", token);
    for (size_t i = 0; i < telling->count; i++) {
        if (!told_room_is_told(telling->rooms[i]))
            continue;
        if (!open) {
            json_put_object(&w, "rooms");
            json_put_object(&w, "join");
        }
        open = true;
        put_room(telling, &w, telling->rooms[i]);
    }
    if (open) {
        json_end_object(&w);
        json_end_object(&w);
    }
    json_put_raw(&w, "device_one_time_keys_count", slice_from_cstr(telling->view->one_time_keys));
    json_put_raw(&w, "device_unused_fallback_key_types", slice_from_cstr(telling->view->fallback_keys));
    json_end_object(&w);
    return json_done(&w);
}
