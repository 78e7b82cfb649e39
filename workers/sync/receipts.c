/* Receipts in the database and in /sync; see receipts.h. The endpoints are in send_receipt.c. */
#include "workers/sync/receipts.h"

#include "lib/kit/stream.h"
#include "lib/kit/worker.h"
#include "workers/sync/queries.h"

static bool has_receipts(const struct sync_room *room)
{
    return room->section == SECTION_JOIN && room->has_news;
}

void receipts_ask(struct sync_work *work, struct receipts_read *receipts)
{
    struct arena *arena = work->call->arena;
    struct i64s nids;
    receipts->count = rooms_where(work, has_receipts, &receipts->rooms, &nids);
    if (receipts->count == 0)
        return;
    struct slice *ids = arena_new_array(arena, receipts->count, struct slice);
    int64_t *only_new = arena_new_array(arena, receipts->count, int64_t);
    for (size_t i = 0; i < receipts->count; i++) {
        ids[i] = receipts->rooms[i]->room_id;
        only_new[i] = !receipts->rooms[i]->entire;
    }
    receipts->result = q_receipts_new(work->batch, work->request->user_id, (struct slices){ids, receipts->count},
                                      (struct i64s){only_new, receipts->count}, work->request->since.xmin, work->since);
}

/* {event id: {type: {user: data}}}. Rows come in that order, unthreaded before threaded: of one user's receipts for one event only the
 * first has a place, and it should be the unthreaded one (MSC4102). */
struct content {
    struct json_writer w;
    struct sync_room *room;
    struct slice event_id, type, user_id;
};

static void close_type(struct content *content)
{
    if (!slice_is_absent(content->type))
        json_end_object(&content->w);
    content->type = content->user_id = SLICE_ABSENT;
}

static void close_event(struct content *content)
{
    close_type(content);
    if (!slice_is_absent(content->event_id))
        json_end_object(&content->w);
    content->event_id = SLICE_ABSENT;
}

static void close_room(struct content *content)
{
    if (!content->room)
        return;
    close_event(content);
    json_end_object(&content->w);
    content->room->receipts = json_done(&content->w);
    content->room = NULL;
}

static void add(struct arena *arena, struct content *content, struct sync_room *room, const struct receipts_new_row *row)
{
    if (room != content->room) {
        close_room(content);
        *content = (struct content){.w = json_writer_in(arena), .room = room};
        json_begin_object(&content->w);
    }
    if (slice_is_absent(content->event_id) || !slice_eq(row->event_id, content->event_id)) {
        close_event(content);
        json_key(&content->w, row->event_id);
        json_begin_object(&content->w);
        content->event_id = row->event_id;
    }
    if (slice_is_absent(content->type) || !slice_eq(row->receipt_type, content->type)) {
        close_type(content);
        json_key(&content->w, row->receipt_type);
        json_begin_object(&content->w);
        content->type = row->receipt_type;
    }
    if (!slice_is_absent(content->user_id) && slice_eq(row->user_id, content->user_id))
        return;
    json_key(&content->w, row->user_id);
    json_add_raw(&content->w, row->data);
    content->user_id = row->user_id;
}

void receipts_take(struct sync_work *work, const struct receipts_read *receipts)
{
    struct receipts_new_row row;
    struct content content = {0};
    while (receipts->result && receipts_new_next(receipts->result, &row)) {
        if (!map_has(work->ignored, row.user_id))
            add(work->call->arena, &content, receipts->rooms[row.ordinal - 1], &row);
    }
    close_room(&content);
}

/* ---- storing */

/* The rooms' shares of what was stored, each as m.receipt content. */
static void publish(struct call *call, const struct receipt *receipts, size_t count, const bool *stored, int64_t pos)
{
    bool *told = arena_new_array(call->arena, count, bool);
    for (size_t i = 0; i < count; i++) {
        if (told[i] || !stored[i])
            continue;
        struct json_writer w = json_writer_in(call->arena);
        json_begin_array(&w);
        for (size_t k = i; k < count; k++) {
            if (!stored[k] || !slice_eq(receipts[k].room_id, receipts[i].room_id))
                continue;
            told[k] = true;
            json_begin_object(&w);
            json_put_string(&w, "event_id", receipts[k].event_id);
            json_put_string(&w, "type", receipts[k].type);
            json_put_string(&w, "user_id", receipts[k].user_id);
            json_put_raw(&w, "data", receipts[k].data);
            json_end_object(&w);
        }
        json_end_array(&w);
        stream_publish(call->worker, STREAM_receipt, receipts[i].room_id, pos, 0, json_done(&w));
    }
}

enum fault receipts_store(struct call *call, const struct receipt *receipts, size_t count)
{
    struct slice *columns[6];
    if (count == 0)
        return FAULT_OK;
    for (size_t i = 0; i < 6; i++)
        columns[i] = arena_new_array(call->arena, count, struct slice);
    for (size_t i = 0; i < count; i++) {
        columns[0][i] = receipts[i].room_id;
        columns[1][i] = receipts[i].user_id;
        columns[2][i] = receipts[i].type;
        columns[3][i] = receipts[i].thread_id;
        columns[4][i] = receipts[i].event_id;
        columns[5][i] = receipts[i].data;
    }
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_receipts_put(batch, (struct slices){columns[0], count}, (struct slices){columns[1], count},
                                              (struct slices){columns[2], count}, (struct slices){columns[3], count},
                                              (struct slices){columns[4], count}, (struct slices){columns[5], count});
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    bool *stored = arena_new_array(call->arena, count, bool);
    int64_t pos = 0;
    struct receipts_put_row row;
    while (receipts_put_next(result, &row)) {
        pos = row.pos;
        for (size_t i = 0; i < count; i++)
            stored[i] |= slice_eq(receipts[i].room_id, row.room_id) && slice_eq(receipts[i].user_id, row.user_id) &&
                         slice_eq(receipts[i].type, row.receipt_type) && slice_eq(receipts[i].thread_id, row.thread_id) &&
                         slice_eq(receipts[i].event_id, row.event_id);
    }
    publish(call, receipts, count, stored, pos);
    return FAULT_OK;
}
