/* Single events and their surroundings: GET …/event/{eventId}, …/context/{eventId}. */
#include "lib/matrix/event_filter.h"
#include "lib/store/timeline_token.h"
#include "proto/dispatch.h"
#include "workers/rooms/reader.h"

/* The event when the reader may see it; NOT_FOUND otherwise: what one may not see does not exist for him. */
static enum fault visible_event(struct call *call, const struct reader *reader, struct event_rows *out)
{
    struct slice event_id = call_param(call, "eventId");
    bool visible = false;
    enum fault fault = event_rows_by_id(call, (struct slices){&event_id, 1}, out);
    if (fault)
        return fault;
    if (out->count == 0 || out->at[0].room_nid != reader->room.room_nid ||
        out->at[0].flags & (EVENT_REJECTED | EVENT_SOFT_FAILED | EVENT_OUTLIER))
        return FAULT_NOT_FOUND;
    if ((fault = visible_to_user(call, out, call->requester.user_id, &visible, NULL)))
        return fault;
    return visible ? FAULT_OK : FAULT_NOT_FOUND;
}

struct reply room_event(struct call *call)
{
    struct reader reader;
    struct reply answer;
    struct event_rows rows;
    size_t shown = 0;
    if (!reader_open(call, &reader, &answer))
        return answer.status == 403 ? call_fail(call, FAULT_NOT_FOUND, "No such event") : answer;
    struct json_writer w = json_writer_in(call->arena);
    enum fault fault = visible_event(call, &reader, &rows);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such event");
    if (fault || (fault = render_visible(call, &reader, &rows, &w, &shown)))
        return call_fail(call, fault, NULL);
    return reply_json(&w);
}

static enum fault add_events(struct call *call, const struct reader *reader, const char *name, const struct event_rows *rows,
                             struct json_writer *w)
{
    size_t shown;
    json_put_array(w, name);
    enum fault fault = render_visible(call, reader, rows, w, &shown);
    json_end_array(w);
    return fault;
}

static void keep_filtered(struct call *call, const struct event_filter *filter, struct event_rows *rows)
{
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        const struct json *content = json_get_object(json_parse(call->arena, rows->at[i].json, JSON_LAX, NULL), "content");
        if (event_filter_allows(filter, rows->at[i].type, rows->at[i].sender, content))
            rows->at[kept++] = rows->at[i];
    }
    rows->count = kept;
}

/* With lazy loading only the members who speak here. */
static void keep_speakers(const struct event_rows *spoken[3], struct event_rows *state)
{
    size_t kept = 0;
    for (size_t i = 0; i < state->count; i++) {
        bool wanted = !slice_eq(state->at[i].type, SLICE("m.room.member"));
        for (size_t list = 0; list < 3 && !wanted; list++)
            for (size_t k = 0; k < spoken[list]->count && !wanted; k++)
                wanted = slice_eq(spoken[list]->at[k].sender, state->at[i].state_key);
        if (wanted)
            state->at[kept++] = state->at[i];
    }
    state->count = kept;
}

struct reply event_context(struct call *call)
{
    struct reader reader;
    struct reply answer;
    struct event_rows rows, before, after, state;
    struct event_filter filter;
    struct slice filter_text = call_query(call, "filter");
    const struct json *filter_json = NULL;
    int64_t limit = 10;
    if (!call_query_i64(call, "limit", &limit) || limit < 0)
        return call_fail(call, FAULT_INVALID_PARAM, "limit must be a number, zero or more");
    if (!slice_is_absent(filter_text) && !json_is(filter_json = json_parse(call->arena, filter_text, JSON_LAX, NULL), JSON_OBJECT))
        return call_fail(call, FAULT_INVALID_PARAM, "filter is not a JSON object");
    if (event_filter_parse(filter_json, 10, 1000, &filter))
        return call_fail(call, FAULT_INVALID_PARAM, "filter has a member of the wrong type");
    if (!reader_open(call, &reader, &answer))
        return answer;
    enum fault fault = visible_event(call, &reader, &rows);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such event");
    if (fault)
        return call_fail(call, fault, NULL);
    limit = limit > 100 ? 100 : limit;
    int64_t here = rows.at[0].room_pos, above = reader.until == INT64_MAX ? INT64_MAX : reader.until + 1;
    if ((fault = timeline_page(call, reader.room.room_nid, here, INT64_MIN + 1, true, limit / 2, &before)) ||
        (fault = timeline_page(call, reader.room.room_nid, here, above, false, limit - limit / 2, &after)))
        return call_fail(call, fault, NULL);
    int64_t start = before.count ? before.at[before.count - 1].room_pos : here;
    int64_t end = after.count ? after.at[after.count - 1].room_pos + 1 : here + 1;
    if ((fault = reader_state_at(call, &reader, end, &state)))
        return call_fail(call, fault, NULL);
    keep_filtered(call, &filter, &before);
    keep_filtered(call, &filter, &after);
    if (filter.lazy_load_members)
        keep_speakers((const struct event_rows *[3]){&rows, &before, &after}, &state);

    size_t shown;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "start", timeline_token(call->arena, start));
    json_put_string(&w, "end", timeline_token(call->arena, end));
    json_key_cstr(&w, "event");
    struct render_for who = {.user_id = call->requester.user_id, .device_id = call->requester.device_id};
    struct render_batch *render;
    if ((fault = render_visible(call, &reader, &rows, &w, &shown)) ||
        (fault = add_events(call, &reader, "events_before", &before, &w)) ||
        (fault = add_events(call, &reader, "events_after", &after, &w)) || (fault = render_prepare(call, &state, &who, &render)))
        return call_fail(call, fault, NULL);
    json_put_array(&w, "state");
    for (size_t i = 0; i < state.count; i++)
        event_render(render, &w, &state.at[i]);
    json_end_array(&w);
    json_end_object(&w);
    return reply_json(&w);
}
