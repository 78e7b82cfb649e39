/* What servers in a room may read of it (Server-Server API "Retrieving events", "Backfilling and retrieving missing events"):
 * event, state, state_ids, backfill, get_missing_events, event_auth, timestamp_to_event. Events that a server may not see are shown
 * redacted. */
#include "lib/base/clock.h"
#include "lib/matrix/event.h"
#include "lib/store/state_snapshot.h"
#include "lib/store/visibility.h"
#include "proto/dispatch.h"
#include "workers/federation/queries.h"
#include "workers/federation/room_access.h"

#include <stdlib.h>

enum { BACKFILL_MAX = 100, MISSING_MAX = 20 };

static void begin_transaction(struct json_writer *w)
{
    json_begin_object(w);
    json_put_string(w, "origin", server_name());
    json_put_i64(w, "origin_server_ts", clock_wall_ms());
    json_put_array(w, "pdus");
}

static struct reply end_transaction(struct json_writer *w)
{
    json_end_array(w);
    json_end_object(w);
    return reply_json(w);
}

static enum fault add_visible(struct call *call, struct json_writer *w, const struct event_rows *rows)
{
    bool *visible = arena_new_array(call->arena, rows->count, bool);
    enum fault fault = visible_to_server(call, rows, call->origin, visible);
    for (size_t i = 0; !fault && i < rows->count; i++) {
        if (visible[i]) {
            json_add_raw(w, event_row_for_servers(call->arena, &rows->at[i]));
            continue;
        }
        const struct event *event = event_row_parse(call->arena, &rows->at[i]);
        json_add_raw(w, event_redact(call->arena, event->version, event->json));
    }
    return fault;
}

/* The room of an event must be one that the asker is in. */
static bool open_room_of(struct call *call, const struct event_row *row, struct reply *answer)
{
    enum fault fault;
    bool allowed;
    bool joined = server_is_joined(call, row->room_nid, call->origin, &fault);
    if (!fault)
        fault = acl_allows(call, row->room_nid, call->origin, &allowed);
    if (!fault && joined && allowed)
        return true;
    *answer = call_fail(call, fault ? fault : FAULT_FORBIDDEN, fault ? NULL : "Your server is not in that room");
    return false;
}

struct reply federation_event(struct call *call)
{
    struct slice event_id = call_param(call, "eventId");
    struct event_rows rows;
    struct reply answer;
    enum fault fault = event_rows_by_id(call, (struct slices){&event_id, 1}, &rows);
    if (!fault && (rows.count == 0 || rows.at[0].flags & EVENT_REJECTED))
        fault = FAULT_NOT_FOUND;
    if (fault)
        return call_fail(call, fault, fault == FAULT_NOT_FOUND ? "No such event" : NULL);
    if (!open_room_of(call, rows.at, &answer))
        return answer;
    struct json_writer w = json_writer_in(call->arena);
    begin_transaction(&w);
    fault = add_visible(call, &w, &rows);
    return fault ? call_fail(call, fault, NULL) : end_transaction(&w);
}

/* ---- the state before an event */
static bool state_before(struct call *call, struct room_facts *room, struct i64s *state, struct reply *answer)
{
    struct event_row row;
    struct state_map map;
    struct slice event_id = call_query(call, "event_id");
    if (!room_open(call, NEED_MEMBER, room, answer))
        return false;
    if (slice_is_absent(event_id)) {
        *answer = call_fail(call, FAULT_MISSING_PARAM, "event_id is missing");
        return false;
    }
    enum fault fault = event_row_by_id(call, event_id, &row);
    if (!fault && (row.room_nid != room->room_nid || !event_row_state_is_known(&row)))
        fault = FAULT_NOT_FOUND;
    if (!fault)
        fault = state_snapshot_load(call, row.snapshot_nid, &map);
    if (fault) {
        *answer = call_fail(call, fault, fault == FAULT_NOT_FOUND ? "The state at this event is not known here" : NULL);
        return false;
    }
    int64_t *nids = arena_new_array(call->arena, map.count, int64_t);
    for (size_t i = 0; i < map.count; i++)
        nids[i] = map.pairs[i].event;
    *state = (struct i64s){nids, map.count};
    return true;
}

static void put_list(struct call *call, struct json_writer *w, const struct room_facts *room, const char *name,
                     struct db_result *events, bool ids_only)
{
    struct state_with_chain_row row;
    json_put_array(w, name);
    while (state_with_chain_next(events, &row)) {
        if (ids_only)
            json_add_string(w, row.event_id);
        else
            json_add_raw(w, event_for_servers(call->arena, room->room_version, row.json, row.is_redacted));
    }
    json_end_array(w);
}

/* /state and /state_ids differ in what they say of each event. */
static struct reply state_reply(struct call *call, bool ids_only)
{
    struct i64s state;
    struct reply answer;
    struct room_facts room;
    if (!state_before(call, &room, &state, &answer))
        return answer;
    struct db_batch *batch = call_batch(call);
    struct db_result *events = q_state_with_chain(batch, state, false), *chain = q_state_with_chain(batch, state, true);
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    put_list(call, &w, &room, ids_only ? "pdu_ids" : "pdus", events, ids_only);
    put_list(call, &w, &room, ids_only ? "auth_chain_ids" : "auth_chain", chain, ids_only);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply federation_state(struct call *call)
{
    return state_reply(call, false);
}

struct reply federation_state_ids(struct call *call)
{
    return state_reply(call, true);
}

struct reply federation_event_auth(struct call *call)
{
    struct room_facts room;
    struct reply answer;
    struct event_row row;
    if (!room_open(call, NEED_MEMBER, &room, &answer))
        return answer;
    enum fault fault = event_row_by_id(call, call_param(call, "eventId"), &row);
    if (!fault && row.room_nid != room.room_nid)
        fault = FAULT_NOT_FOUND;
    if (fault)
        return call_fail(call, fault, fault == FAULT_NOT_FOUND ? "No such event" : NULL);
    struct db_batch *batch = call_batch(call);
    struct db_result *chain = q_state_with_chain(batch, (struct i64s){&row.event_nid, 1}, true);
    if ((fault = db_run(batch)))
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    put_list(call, &w, &room, "auth_chain", chain, false);
    json_end_object(&w);
    return reply_json(&w);
}

/* ---- history */
struct reply federation_backfill(struct call *call)
{
    struct room_facts room;
    struct reply answer;
    struct event_rows from, rows;
    struct slices v = call_query_all(call, "v");
    int64_t limit = 0, newest = INT64_MIN;
    if (!call_query_i64(call, "limit", &limit) || limit < 1 || v.len == 0)
        return call_fail(call, v.len ? FAULT_INVALID_PARAM : FAULT_MISSING_PARAM, "v and a positive limit are needed");
    if (!room_open(call, NEED_MEMBER, &room, &answer))
        return answer;
    enum fault fault = event_rows_by_id(call, v, &from);
    if (fault)
        return call_fail(call, fault, NULL);
    for (size_t i = 0; i < from.count; i++)
        if (from.at[i].room_nid == room.room_nid && from.at[i].room_pos != DB_NULL_I64 && from.at[i].room_pos > newest)
            newest = from.at[i].room_pos;
    struct json_writer w = json_writer_in(call->arena);
    begin_transaction(&w);
    if (newest != INT64_MIN) {
        fault =
            timeline_page(call, room.room_nid, newest + 1, INT64_MIN + 1, true, limit < BACKFILL_MAX ? limit : BACKFILL_MAX, &rows);
        if (fault || (fault = add_visible(call, &w, &rows)))
            return call_fail(call, fault, NULL);
    }
    return end_transaction(&w);
}

static bool contains(const int64_t *list, size_t count, int64_t nid)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == nid)
            return true;
    return false;
}

static int oldest_first(const void *left, const void *right)
{
    const struct event_row *a = left, *b = right;
    if (a->depth != b->depth)
        return a->depth < b->depth ? -1 : 1;
    return (a->room_pos > b->room_pos) - (a->room_pos < b->room_pos);
}

static struct slices strings_of(struct call *call, const struct json *array)
{
    struct slice *list = arena_new_array(call->arena, array ? array->count : 0, struct slice);
    size_t count = 0;
    json_each (item, array)
        if (json_is(item, JSON_STRING))
            list[count++] = item->text;
    return (struct slices){list, count};
}

/* Walks back from latest_events, breadth first, up to earliest_events; neither of the two is part of the answer. */
static enum fault walk_back(struct call *call, const struct room_facts *room, size_t limit, int64_t min_depth,
                            struct event_rows *out)
{
    struct event_rows latest, earliest;
    enum fault fault;
    if ((fault = event_rows_by_id(call, strings_of(call, json_get_array(call->json, "latest_events")), &latest)) ||
        (fault = event_rows_by_id(call, strings_of(call, json_get_array(call->json, "earliest_events")), &earliest)))
        return fault;
    enum { SEEN_MAX = 512 };
    int64_t seen[SEEN_MAX], *next = arena_new_array(call->arena, SEEN_MAX, int64_t);
    size_t seen_count = 0, next_count = 0;
    for (size_t i = 0; i < earliest.count && seen_count < SEEN_MAX / 2; i++)
        seen[seen_count++] = earliest.at[i].event_nid;
    struct event_rows level = latest;
    *out = (struct event_rows){arena_new_array(call->arena, limit, struct event_row), 0};
    while (out->count < limit) {
        next_count = 0;
        for (size_t i = 0; i < level.count; i++)
            for (size_t k = 0; level.at[i].room_nid == room->room_nid && k < level.at[i].prev_nids.len; k++)
                if (seen_count < SEEN_MAX && !contains(seen, seen_count, level.at[i].prev_nids.at[k]))
                    next[next_count++] = seen[seen_count++] = level.at[i].prev_nids.at[k];
        if (next_count == 0)
            return FAULT_OK;
        if ((fault = event_rows_by_nid(call, (struct i64s){next, next_count}, &level)))
            return fault;
        for (size_t i = 0; i < level.count && out->count < limit; i++)
            if (level.at[i].depth >= min_depth && !(level.at[i].flags & (EVENT_REJECTED | EVENT_OUTLIER)))
                out->at[out->count++] = level.at[i];
    }
    return FAULT_OK;
}

static bool are_strings(const struct json *array)
{
    json_each (item, array)
        if (!json_is(item, JSON_STRING))
            return false;
    return json_is(array, JSON_ARRAY);
}

struct reply get_missing_events(struct call *call)
{
    static const struct body_member members[] = {{"limit", JSON_INT}, {"min_depth", JSON_INT}, {NULL, JSON_NULL}};
    struct room_facts room;
    struct reply answer;
    struct event_rows rows;
    int64_t limit = 10, min_depth = 0;
    if (!call_members_fit(call, call->json, members, &answer))
        return answer;
    json_get_i64(call->json, "limit", &limit);
    json_get_i64(call->json, "min_depth", &min_depth);
    if (!are_strings(json_get_cstr(call->json, "latest_events")) || !are_strings(json_get_cstr(call->json, "earliest_events")))
        return call_fail(call, FAULT_BAD_JSON, "latest_events and earliest_events must be lists of event ids");
    if (!room_open(call, NEED_MEMBER, &room, &answer))
        return answer;
    enum fault fault = walk_back(call, &room, limit < 1 ? 1 : limit > MISSING_MAX ? MISSING_MAX : (size_t)limit, min_depth, &rows);
    if (fault)
        return call_fail(call, fault, NULL);
    qsort(rows.at, rows.count, sizeof *rows.at, oldest_first);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_array(&w, "events");
    if ((fault = add_visible(call, &w, &rows)))
        return call_fail(call, fault, NULL);
    json_end_array(&w);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply federation_timestamp_to_event(struct call *call)
{
    struct room_facts room;
    struct reply answer;
    int64_t ts = -1;
    struct slice dir = call_query(call, "dir");
    bool forwards = slice_eq(dir, SLICE("f"));
    if (!call_query_i64(call, "ts", &ts) || ts < 0 || (!forwards && !slice_eq(dir, SLICE("b"))))
        return call_fail(call, FAULT_INVALID_PARAM, "ts and dir (f or b) are needed");
    if (!room_open(call, NEED_MEMBER, &room, &answer))
        return answer;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_event_near(batch, room.room_nid, ts, forwards);
    enum fault fault = db_run(batch);
    struct event_near_row row;
    if (fault || !event_near_next(result, &row))
        return call_fail(call, fault ? fault : FAULT_NOT_FOUND, fault ? NULL : "No event there");
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "event_id", row.event_id);
    json_put_i64(&w, "origin_server_ts", row.origin_server_ts);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply federation_version(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "server");
    json_put_cstr(&w, "name", "Myelin");
    json_put_cstr(&w, "version", MYELIN_VERSION);
    json_end_object(&w);
    json_end_object(&w);
    return reply_json(&w);
}
