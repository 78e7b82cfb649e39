/* Events as clients see them; see render.h. */
#include "lib/store/render.h"

#include "lib/base/clock.h"
#include "lib/store/queries.h"

/* From so many rows on, what parsing an event takes (about 20 times its bytes) is let go after each. */
enum { MANY_ROWS = 64 };

struct render_batch {
    struct arena *arena;
    bool is_scratch; /* arena is for one event at a time */
    struct render_for reader;
    const struct event_rows *rows;
    struct event_rows related; /* redactions and replaced state, by nid */
    struct slice *txn_ids;     /* per row; absent if none */
    int64_t now_ms;
};

enum fault render_prepare(struct call *call, const struct event_rows *rows, const struct render_for *reader,
                          struct render_batch **out)
{
    struct render_batch *batch = arena_new(call->arena, struct render_batch);
    const bool many = rows->count >= MANY_ROWS;
    *batch = (struct render_batch){.arena = many ? arena_child(call->arena) : call->arena,
                                   .is_scratch = many,
                                   .reader = *reader,
                                   .rows = rows,
                                   .txn_ids = arena_new_array(call->arena, rows->count, struct slice),
                                   .now_ms = clock_wall_ms()};
    *out = batch;
    int64_t *related = arena_new_array(call->arena, rows->count * 2, int64_t),
            *own = arena_new_array(call->arena, rows->count, int64_t);
    size_t related_count = 0, own_count = 0;
    for (size_t i = 0; i < rows->count; i++) {
        const struct event_row *row = &rows->at[i];
        if (row->redacted_by != DB_NULL_I64)
            related[related_count++] = row->redacted_by;
        if (row->replaces_nid != DB_NULL_I64)
            related[related_count++] = row->replaces_nid;
        if (slice_eq(row->sender, reader->user_id) && !slice_is_absent(reader->device_id))
            own[own_count++] = row->event_nid;
    }
    enum fault fault = event_rows_by_nid(call, (struct i64s){related, related_count}, &batch->related);
    if (fault)
        return fault;
    if (own_count == 0)
        return FAULT_OK;
    struct db_batch *statements = call_batch(call);
    struct db_result *result = q_txn_ids_of(statements, (struct i64s){own, own_count}, reader->user_id, reader->device_id);
    if ((fault = db_run(statements)))
        return fault;
    struct txn_ids_of_row row;
    while (txn_ids_of_next(result, &row))
        for (size_t i = 0; i < rows->count; i++)
            if (rows->at[i].event_nid == row.event_nid)
                batch->txn_ids[i] = row.txn_id;
    return FAULT_OK;
}

/* The row's event with the redaction applied when there is one. */
static struct event *pruned(struct render_batch *batch, const struct event_row *row)
{
    struct event *event = event_row_parse(batch->arena, row);
    if (row->redacted_by == DB_NULL_I64)
        return event;
    struct event_row redacted = *row;
    redacted.json = event_redact(batch->arena, event->version, event->json);
    return event_row_parse(batch->arena, &redacted);
}

static struct slice unsigned_data(struct render_batch *batch, const struct event_row *row, size_t index)
{
    struct json_writer w = json_writer_in(batch->arena);
    json_begin_object(&w);
    json_put_i64(&w, "age", batch->now_ms > row->origin_server_ts ? batch->now_ms - row->origin_server_ts : 0);
    if (index < batch->rows->count) {
        json_put_string(&w, "transaction_id", batch->txn_ids[index]);
        if (batch->reader.memberships)
            json_put_string(&w, "membership", batch->reader.memberships[index]);
    }
    const struct event_row *replaced =
        row->replaces_nid == DB_NULL_I64 ? NULL : event_rows_find(&batch->related, row->replaces_nid);
    if (replaced) {
        const struct event *before = pruned(batch, replaced);
        json_put_string(&w, "replaces_state", replaced->event_id);
        json_put_raw(&w, "prev_content", before->content->span);
        json_put_string(&w, "prev_sender", replaced->sender);
    }
    const struct event_row *redaction = row->redacted_by == DB_NULL_I64 ? NULL : event_rows_find(&batch->related, row->redacted_by);
    if (redaction) {
        json_key_cstr(&w, "redacted_because");
        event_for_client(&w, event_row_parse(batch->arena, redaction), SLICE_ABSENT);
    }
    json_end_object(&w);
    return json_done(&w);
}

static void write_one(struct render_batch *batch, struct json_writer *w, const struct event_row *row)
{
    const struct event *event = pruned(batch, row);
    if (batch->reader.federation_format) {
        json_add_raw(w, event->raw);
        return;
    }
    struct event shown = *event;
    if (batch->reader.omit_room_id)
        shown.room_id = SLICE_ABSENT;
    size_t index = (size_t)(row - batch->rows->at);
    event_for_client(w, &shown, unsigned_data(batch, row, row >= batch->rows->at ? index : SIZE_MAX));
}

void event_render(struct render_batch *batch, struct json_writer *w, const struct event_row *row)
{
    write_one(batch, w, row);
    if (batch->is_scratch)
        arena_reset(batch->arena);
}

void event_render_stripped(struct json_writer *w, const struct event *event)
{
    json_begin_object(w);
    json_put_string(w, "type", event->type);
    json_put_string(w, "state_key", event->state_key);
    json_put_string(w, "sender", event->sender);
    json_put_raw(w, "content", event->content->span);
    json_end_object(w);
}
