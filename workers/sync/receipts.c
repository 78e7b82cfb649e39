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

static void close_type(struct receipts_writer *content)
{
    if (!slice_is_absent(content->type))
        json_end_object(&content->w);
    content->type = content->user_id = SLICE_ABSENT;
}

static void close_event(struct receipts_writer *content)
{
    close_type(content);
    if (!slice_is_absent(content->event_id))
        json_end_object(&content->w);
    content->event_id = SLICE_ABSENT;
}

void receipts_writer_begin(struct receipts_writer *content, struct arena *arena)
{
    *content = (struct receipts_writer){.w = json_writer_in(arena)};
    json_begin_object(&content->w);
}

void receipts_writer_add(struct receipts_writer *content, struct slice event_id, struct slice type, struct slice user_id,
                         struct slice data)
{
    if (slice_is_absent(content->event_id) || !slice_eq(event_id, content->event_id)) {
        close_event(content);
        json_key(&content->w, event_id);
        json_begin_object(&content->w);
        content->event_id = event_id;
    }
    if (slice_is_absent(content->type) || !slice_eq(type, content->type)) {
        close_type(content);
        json_key(&content->w, type);
        json_begin_object(&content->w);
        content->type = type;
    }
    if (!slice_is_absent(content->user_id) && slice_eq(user_id, content->user_id))
        return;
    json_key(&content->w, user_id);
    json_add_raw(&content->w, data);
    content->user_id = user_id;
}

struct slice receipts_writer_end(struct receipts_writer *content)
{
    close_event(content);
    json_end_object(&content->w);
    return json_done(&content->w);
}

void receipts_take(struct sync_work *work, const struct receipts_read *receipts)
{
    struct receipts_new_row row;
    struct receipts_writer content = {0};
    struct sync_room *room = NULL;
    while (receipts->result && receipts_new_next(receipts->result, &row)) {
        if (map_has(work->ignored, row.user_id))
            continue;
        if (room != receipts->rooms[row.ordinal - 1]) {
            if (room)
                room->receipts = receipts_writer_end(&content);
            room = receipts->rooms[row.ordinal - 1];
            receipts_writer_begin(&content, work->call->arena);
        }
        receipts_writer_add(&content, row.event_id, row.receipt_type, row.user_id, row.data);
    }
    if (room)
        room->receipts = receipts_writer_end(&content);
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
