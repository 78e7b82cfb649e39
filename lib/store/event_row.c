/* Event rows in batches; see event_row.h. */
#include "lib/store/event_row.h"

#include "lib/base/ensure.h"
#include "lib/store/event_collect.h"
#include "lib/store/queries.h"

#include <stdlib.h>

/* The generated row structs of all event_full statements have the same members. */
#define COPY_EVENT(to, from) \
    (to) = (struct event_row) \
    { \
        .event_nid = (from).event_nid, .room_nid = (from).room_nid, .room_pos = (from).room_pos, .pos = (from).pos, \
        .depth = (from).depth, .origin_server_ts = (from).origin_server_ts, .snapshot_nid = (from).snapshot_nid, \
        .redacted_by = (from).redacted_by, .replaces_nid = (from).replaces_nid, .flags = (from).flags, \
        .event_id = (from).event_id, .type = (from).type, .state_key = (from).state_key, .sender = (from).sender, \
        .json = (from).json, .prev_nids = (from).prev_nids, .auth_nids = (from).auth_nids, .room_id = (from).room_id, \
        .room_version = (from).room_version \
    }
#define COLLECT(call, statement, result, out) \
    do { \
        struct statement##_row row_; \
        size_t room_ = (size_t)db_affected(result); \
        (out)->at = arena_new_array((call)->arena, room_, struct event_row); \
        (out)->count = 0; \
        while ((out)->count < room_ && statement##_next((result), &row_)) { \
            COPY_EVENT((out)->at[(out)->count], row_); \
            (out)->count++; \
        } \
    } while (0)

static int by_nid(const void *left, const void *right)
{
    const struct event_row *a = left, *b = right;
    return (a->event_nid > b->event_nid) - (a->event_nid < b->event_nid);
}

/* The tables give rows in whatever order the planner finds; event_rows_find needs this one. */
static void sort_by_nid(struct event_rows *rows)
{
    if (rows->count > 1)
        qsort(rows->at, rows->count, sizeof *rows->at, by_nid);
}

enum fault event_rows_by_nid(struct call *call, struct i64s nids, struct event_rows *out)
{
    *out = (struct event_rows){NULL, 0};
    if (nids.len == 0)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_event_by_nid(batch, nids);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    COLLECT(call, event_by_nid, result, out);
    sort_by_nid(out);
    return FAULT_OK;
}

enum fault event_rows_by_id(struct call *call, struct slices event_ids, struct event_rows *out)
{
    *out = (struct event_rows){NULL, 0};
    if (event_ids.len == 0)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_event_by_id(batch, event_ids);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    COLLECT(call, event_by_id, result, out);
    sort_by_nid(out);
    return FAULT_OK;
}

enum fault event_row_by_id(struct call *call, struct slice event_id, struct event_row *out)
{
    struct event_rows rows;
    enum fault fault = event_rows_by_id(call, (struct slices){&event_id, 1}, &rows);
    if (fault)
        return fault;
    if (rows.count == 0)
        return FAULT_NOT_FOUND;
    *out = rows.at[0];
    return FAULT_OK;
}

enum fault timeline_page(struct call *call, int64_t room_nid, int64_t from, int64_t to, bool newest_first, int64_t limit,
                         struct event_rows *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = newest_first ? q_timeline_backwards(batch, room_nid, from, to, limit)
                                            : q_timeline_forwards(batch, room_nid, from, to, limit);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    if (newest_first)
        COLLECT(call, timeline_backwards, result, out);
    else
        COLLECT(call, timeline_forwards, result, out);
    return FAULT_OK;
}

void current_state_collect(struct call *call, struct db_result *result, bool all, struct event_rows *out)
{
    if (all)
        COLLECT(call, current_state_all, result, out);
    else
        COLLECT(call, current_state_one, result, out);
}

const struct event_row *event_rows_find(const struct event_rows *rows, int64_t event_nid)
{
    size_t low = 0, high = rows->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows->at[middle].event_nid < event_nid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rows->count && rows->at[low].event_nid == event_nid ? &rows->at[low] : NULL;
}

bool event_row_state_is_known(const struct event_row *row)
{
    if (row->flags & EVENT_OUTLIER)
        return false;
    return row->snapshot_nid != 0 || slice_eq(row->type, SLICE("m.room.create"));
}

struct event *event_row_parse(struct arena *arena, const struct event_row *row)
{
    const struct room_version *version = room_version_find(row->room_version);
    ensure(version);
    struct event *event = NULL;
    ensure(event_parse_history(arena, version, row->json, &event, NULL) == FAULT_OK);
    event->rejected = row->flags & EVENT_REJECTED;
    return event;
}

struct slice event_for_servers(struct arena *arena, struct slice room_version, struct slice json, bool is_redacted)
{
    if (!is_redacted)
        return json;
    const struct room_version *version = room_version_find(room_version);
    ensure(version);
    struct event *event = NULL;
    ensure(event_parse_history(arena, version, json, &event, NULL) == FAULT_OK);
    return event_redact(arena, version, event->json);
}

struct slice event_row_for_servers(struct arena *arena, const struct event_row *row)
{
    return event_for_servers(arena, row->room_version, row->json, row->redacted_by != DB_NULL_I64);
}
