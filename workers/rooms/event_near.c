/* GET …/timestamp_to_event (Client-Server API "Getting events for a room"): the nearest event that the user may see. Where our
 * history has a gap that could hide a nearer one, servers in the room are asked; what they name is fetched as history, from our
 * edge down, so that the timeline stays in order. Beyond the reach of that it stays unknown to us, and we answer with what we have.
 */
#include "lib/base/clock.h"
#include "lib/base/uri.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/queries.h"
#include "workers/rooms/reader.h"

enum {
    PAGE = 20,
    PAGES_MAX = 25, /* of events that the user may not see */
    ASKED_MAX = 3,
    ASK_MS = 5000,
    HISTORY_CHUNK = 100,
    HISTORY_ROUNDS_MAX = 20,
};

struct wanted {
    struct reader reader;
    int64_t ts;
    bool forwards;
};

/* A page from the cursor (ts, room_pos) on, in order. */
static enum fault next_page(struct call *call, const struct wanted *wanted, int64_t ts, int64_t room_pos, struct event_rows *out)
{
    int64_t nids[PAGE], room_nid = wanted->reader.room.room_nid, until = wanted->reader.until;
    size_t count = 0;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = wanted->forwards ? q_events_after_ts(batch, room_nid, ts, room_pos, until, PAGE)
                                                : q_events_before_ts(batch, room_nid, ts, room_pos, until, PAGE);
    enum fault fault = db_run(batch);
    struct events_after_ts_row after;
    struct events_before_ts_row earlier;
    if (fault)
        return fault;
    while (count < PAGE && wanted->forwards && events_after_ts_next(result, &after))
        nids[count++] = after.event_nid;
    while (count < PAGE && !wanted->forwards && events_before_ts_next(result, &earlier))
        nids[count++] = earlier.event_nid;
    struct event_rows rows;
    if ((fault = event_rows_by_nid(call, (struct i64s){nids, count}, &rows)))
        return fault;
    *out = (struct event_rows){arena_new_array(call->arena, count, struct event_row), 0};
    for (size_t i = 0; i < count; i++) {
        const struct event_row *row = event_rows_find(&rows, nids[i]);
        if (row)
            out->at[out->count++] = *row;
    }
    return FAULT_OK;
}

/* The nearest event here; NOT_FOUND. */
static enum fault find_here(struct call *call, const struct wanted *wanted, struct event_row *out)
{
    int64_t ts = wanted->forwards ? wanted->ts - 1 : wanted->ts + 1, room_pos = wanted->forwards ? INT64_MAX : INT64_MIN + 1;
    for (int page = 0; page < PAGES_MAX; page++) {
        struct event_rows rows;
        struct slice *memberships;
        enum fault fault = next_page(call, wanted, ts, room_pos, &rows);
        if (fault || rows.count == 0)
            return fault ? fault : FAULT_NOT_FOUND;
        ts = rows.at[rows.count - 1].origin_server_ts;
        room_pos = rows.at[rows.count - 1].room_pos;
        if ((fault = keep_visible(call, call->requester.user_id, &rows, &memberships)))
            return fault;
        if (rows.count) {
            *out = rows.at[0];
            return FAULT_OK;
        }
    }
    return FAULT_NOT_FOUND;
}

static enum fault gap_is_nearer(struct call *call, const struct wanted *wanted, const struct event_row *here, bool *nearer)
{
    int64_t newer_than = wanted->forwards ? wanted->ts : here ? here->origin_server_ts : -1;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_gap_nearer(batch, wanted->reader.room.room_nid, newer_than);
    enum fault fault = db_run(batch);
    struct gap_nearer_row row;
    *nearer = !fault && gap_nearer_next(result, &row) && row.is_there;
    return fault;
}

static bool is_nearer(const struct wanted *wanted, int64_t ts, int64_t than)
{
    return wanted->forwards ? ts >= wanted->ts && ts < than : ts <= wanted->ts && ts > than;
}

/* What servers in the room know, all asked at once. *event_id: absent when it is nothing nearer. */
static enum fault ask_others(struct call *call, const struct wanted *wanted, const struct event_row *here, struct slice *event_id)
{
    struct slices servers;
    struct bus_ticket *tickets[ASKED_MAX];
    size_t asked = 0;
    int64_t nearest = here ? here->origin_server_ts : wanted->forwards ? INT64_MAX : -1;
    *event_id = SLICE_ABSENT;
    enum fault fault = room_servers(call, wanted->reader.room.room_nid, &servers);
    for (size_t i = 0; !fault && i < servers.len && asked < ASKED_MAX; i++) {
        if (slice_eq(servers.at[i], server_name()))
            continue;
        struct fetch_request request = {.destination = servers.at[i],
                                        .method = SLICE("GET"),
                                        .uri = arena_printf(call->arena,
                                                            "/_matrix/federation/v1/timestamp_to_event/%.*s?ts=%lld&dir=%c",
                                                            PRI(uri_encode(call->arena, wanted->reader.room.room_id)),
                                                            (long long)wanted->ts, wanted->forwards ? 'f' : 'b'),
                                        .sign = true,
                                        .timeout_ms = ASK_MS,
                                        .size_max = 1 << 20};
        tickets[asked++] = call_fetch_send(call, request.destination, &request);
    }
    for (size_t i = 0; i < asked; i++) {
        struct fetch_reply reply;
        int64_t ts;
        if (call_bus_wait(call, tickets[i], &reply) || reply.status != 200)
            continue;
        const struct json *answer = json_parse(call->arena, reply.body, JSON_LAX, NULL);
        struct slice named = json_get_string(answer, "event_id");
        if (!event_id_is_valid(named) || !json_get_i64(answer, "origin_server_ts", &ts) || !is_nearer(wanted, ts, nearest))
            continue;
        nearest = ts;
        *event_id = named;
    }
    return fault;
}

/* History, until the event is here or nothing comes any more. */
static enum fault fetch_history(struct call *call, const struct wanted *wanted, struct slice event_id)
{
    for (int round = 0; round < HISTORY_ROUNDS_MAX && clock_monotonic_ms() < call->deadline_ms; round++) {
        struct event_row row;
        enum fault fault = event_row_by_id(call, event_id, &row);
        if (fault != FAULT_NOT_FOUND && (fault || !(row.flags & EVENT_OUTLIER)))
            return fault;
        struct remote_backfill_request request = {.room_id = wanted->reader.room.room_id, .limit = HISTORY_CHUNK};
        struct remote_backfill_reply reply;
        if (call_remote_backfill(call, request.room_id, &request, &reply) || reply.added == 0)
            return FAULT_OK; /* no server gives more: then we stay with what we have */
    }
    return FAULT_OK;
}

static enum fault find(struct call *call, const struct wanted *wanted, struct event_row *out)
{
    bool nearer = false;
    struct slice event_id = SLICE_ABSENT;
    enum fault here = find_here(call, wanted, out), fault = here == FAULT_NOT_FOUND ? FAULT_OK : here;
    const struct event_row *found = here ? NULL : out;
    if (fault || (fault = gap_is_nearer(call, wanted, found, &nearer)) || !nearer)
        return fault ? fault : here;
    if ((fault = ask_others(call, wanted, found, &event_id)) || slice_is_absent(event_id))
        return fault ? fault : here;
    if ((fault = fetch_history(call, wanted, event_id)))
        return fault;
    return find_here(call, wanted, out);
}

struct reply timestamp_to_event(struct call *call)
{
    struct wanted wanted = {.ts = -1};
    struct reply answer;
    struct event_row row;
    struct slice dir = call_query(call, "dir");
    if (!call_query_i64(call, "ts", &wanted.ts) || wanted.ts < 0 || wanted.ts > JSON_INT_MAX)
        return call_fail(call, FAULT_INVALID_PARAM, "ts must be a timestamp");
    if (!slice_eq(dir, SLICE("f")) && !slice_eq(dir, SLICE("b")))
        return call_fail(call, FAULT_INVALID_PARAM, "dir must be f or b");
    wanted.forwards = slice_eq(dir, SLICE("f"));
    if (!reader_open(call, &wanted.reader, &answer))
        return answer;
    enum fault fault = find(call, &wanted, &row);
    if (fault)
        return call_fail(call, fault, fault == FAULT_NOT_FOUND ? "No event there" : NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "event_id", row.event_id);
    json_put_i64(&w, "origin_server_ts", row.origin_server_ts);
    json_end_object(&w);
    return reply_json(&w);
}
