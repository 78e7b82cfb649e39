/* GET …/messages (Client-Server API "Getting events for a room"): pages through the timeline; where our history ends and the room's
 * goes on, more is fetched from its servers first. */
#include "lib/matrix/event_filter.h"
#include "lib/store/timeline_token.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/queries.h"
#include "workers/rooms/reader.h"

enum { LIMIT_DEFAULT = 10, LIMIT_MAX = 1000, ROUNDS_MAX = 20 };

struct page {
    struct reader reader;
    struct event_filter filter;
    bool backwards;
    int64_t from, to; /* points: before this room_pos; to bounds the page when given */
    int64_t limit;
    int64_t end; /* point after the page */
    bool more;
    struct event_rows rows;
    struct slice *memberships;
};

static bool take_point(struct call *call, struct page *page, const char *name, int64_t otherwise, int64_t *out,
                       struct reply *answer)
{
    struct slice token = call_query(call, name);
    *out = otherwise;
    if (slice_is_absent(token) || token.len == 0)
        return true;
    enum fault fault = timeline_token_resolve(call, page->reader.room.room_nid, token, out);
    if (fault)
        *answer = fault == FAULT_INVALID_PARAM ? call_failf(call, fault, "%s is not a token of ours", name)
                                               : call_fail(call, fault, NULL);
    return fault == FAULT_OK;
}

static bool take_parameters(struct call *call, struct page *page, struct reply *answer)
{
    struct slice dir = call_query(call, "dir"), filter = call_query(call, "filter");
    const struct json *json = NULL;
    if (slice_is_absent(dir)) {
        *answer = call_fail(call, FAULT_MISSING_PARAM, "dir is missing");
        return false;
    }
    if (!slice_eq(dir, SLICE("b")) && !slice_eq(dir, SLICE("f"))) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "dir must be b or f");
        return false;
    }
    page->backwards = slice_eq(dir, SLICE("b"));
    if (!slice_is_absent(filter) && !json_is(json = json_parse(call->arena, filter, JSON_LAX, NULL), JSON_OBJECT)) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "filter is not a JSON object");
        return false;
    }
    if (event_filter_parse(json, LIMIT_DEFAULT, LIMIT_MAX, &page->filter)) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "filter has a member of the wrong type");
        return false;
    }
    page->limit = page->filter.limit;
    if (!call_query_i64(call, "limit", &page->limit) || page->limit < 0) {
        *answer = call_fail(call, FAULT_INVALID_PARAM, "limit must be a number, zero or more");
        return false;
    }
    page->limit = page->limit > LIMIT_MAX ? LIMIT_MAX : page->limit < 1 ? 1 : page->limit;
    int64_t newest = page->reader.until == INT64_MAX ? INT64_MAX : page->reader.until + 1;
    if (!take_point(call, page, "from", page->backwards ? newest : TIMELINE_FIRST, &page->from, answer) ||
        !take_point(call, page, "to", page->backwards ? TIMELINE_FIRST : newest, &page->to, answer))
        return false;
    if (page->backwards && page->from > newest)
        page->from = newest;
    return true;
}

/* One sweep of the timeline, filtered; page->end moves on. */
static enum fault sweep(struct call *call, struct page *page, int64_t from, struct event_rows *rows, struct slice **memberships)
{
    enum fault fault = page->backwards
                           ? timeline_page(call, page->reader.room.room_nid, from, page->to - 1, true, page->limit, rows)
                           : timeline_page(call, page->reader.room.room_nid, from - 1, page->to, false, page->limit, rows);
    if (fault)
        return fault;
    page->more = (int64_t)rows->count == page->limit;
    page->end = rows->count ? rows->at[rows->count - 1].room_pos + (page->backwards ? 0 : 1) : from;
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        const struct json *content = json_get_object(json_parse(call->arena, rows->at[i].json, JSON_LAX, NULL), "content");
        if (event_filter_allows(&page->filter, rows->at[i].type, rows->at[i].sender, content))
            rows->at[kept++] = rows->at[i];
    }
    rows->count = kept;
    return keep_visible(call, call->requester.user_id, rows, memberships);
}

/* Does history go on elsewhere? Fetches a chunk; *added events came. */
static enum fault backfill(struct call *call, const struct page *page, int64_t *added)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_has_backward_edges(batch, page->reader.room.room_nid);
    enum fault fault = db_run(batch);
    struct has_backward_edges_row row;
    *added = 0;
    if (fault || !has_backward_edges_next(result, &row) || !row.has)
        return fault;
    struct remote_backfill_request request = {.room_id = page->reader.room.room_id, .limit = page->limit < 50 ? 50 : 100};
    struct remote_backfill_reply reply;
    fault = call_remote_backfill(call, request.room_id, &request, &reply);
    *added = fault ? 0 : reply.added;
    return FAULT_OK; /* a peer that does not answer makes the page shorter, not an error */
}

/* Sweeps until something is there to show or nothing is left; several rounds when the filter lets little through. */
static enum fault fill(struct call *call, struct page *page)
{
    int64_t from = page->from;
    struct event_row *all = arena_new_array(call->arena, (size_t)page->limit, struct event_row);
    struct slice *memberships = arena_new_array(call->arena, (size_t)page->limit, struct slice);
    size_t count = 0;
    for (int round = 0; round < ROUNDS_MAX && (int64_t)count < page->limit; round++) {
        struct event_rows rows;
        struct slice *their;
        enum fault fault = sweep(call, page, from, &rows, &their);
        if (fault)
            return fault;
        size_t taken = 0;
        for (; taken < rows.count && (int64_t)count < page->limit; taken++) {
            memberships[count] = their[taken];
            all[count++] = rows.at[taken];
        }
        if (taken < rows.count) { /* the page is full in the middle of a sweep */
            page->end = all[count - 1].room_pos + (page->backwards ? 0 : 1);
            page->more = true;
        }
        from = page->end;
        if (page->more)
            continue;
        int64_t added = 0;
        if (!page->backwards || (int64_t)count >= page->limit || (fault = backfill(call, page, &added)))
            break;
        if (added == 0)
            break;
        page->more = true;
    }
    page->rows = (struct event_rows){all, count};
    page->memberships = memberships;
    return FAULT_OK;
}

/* Lazy loading: the members who speak in the chunk ("Lazy-loading room members"). */
static enum fault add_members(struct call *call, const struct page *page, struct json_writer *w)
{
    struct slice *senders = arena_new_array(call->arena, page->rows.count, struct slice);
    size_t count = 0;
    for (size_t i = 0; i < page->rows.count; i++) {
        size_t seen = 0;
        while (seen < count && !slice_eq(senders[seen], page->rows.at[i].sender))
            seen++;
        if (seen == count)
            senders[count++] = page->rows.at[i].sender;
    }
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_member_events(batch, page->reader.room.room_nid, (struct slices){senders, count});
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    int64_t *nids = arena_new_array(call->arena, count, int64_t);
    size_t found = 0;
    struct member_events_row row;
    while (found < count && member_events_next(result, &row))
        nids[found++] = row.event_nid;
    struct event_rows rows;
    struct render_batch *render;
    struct render_for who = {.user_id = call->requester.user_id, .device_id = call->requester.device_id};
    if ((fault = event_rows_by_nid(call, (struct i64s){nids, found}, &rows)) ||
        (fault = render_prepare(call, &rows, &who, &render)))
        return fault;
    json_put_array(w, "state");
    for (size_t i = 0; i < rows.count; i++)
        event_render(render, w, &rows.at[i]);
    json_end_array(w);
    return FAULT_OK;
}

struct reply messages(struct call *call)
{
    struct page page = {0};
    struct reply answer;
    struct render_batch *render;
    struct render_for who = {.user_id = call->requester.user_id, .device_id = call->requester.device_id};
    if (!reader_open(call, &page.reader, &answer) || !take_parameters(call, &page, &answer))
        return answer;
    enum fault fault = fill(call, &page);
    who.memberships = page.memberships;
    if (fault || (fault = render_prepare(call, &page.rows, &who, &render)))
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    int64_t start = page.from == INT64_MAX        ? page.reader.room.head_pos + 1
                    : page.from == TIMELINE_FIRST ? page.reader.room.tail_pos
                                                  : page.from;
    json_put_string(&w, "start", timeline_token(call->arena, start));
    if (page.more)
        json_put_string(&w, "end", timeline_token(call->arena, page.end));
    json_put_array(&w, "chunk");
    for (size_t i = 0; i < page.rows.count; i++)
        event_render(render, &w, &page.rows.at[i]);
    json_end_array(&w);
    if (page.filter.lazy_load_members && page.rows.count && (fault = add_members(call, &page, &w)))
        return call_fail(call, fault, NULL);
    json_end_object(&w);
    return reply_json(&w);
}
