/* Filling gaps, in the order of cost; see gap.h:
 *   1. the auth events, one by one, as outliers
 *   2. get_missing_events between our heads and the event
 *   3. when that does not reach our history: the state before the oldest one by /state_ids, its unknown events as outliers */
#include "workers/federation/gap.h"

#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/uri.h"
#include "proto/stubs.h"
#include "workers/federation/pdu_check.h"
#include "workers/federation/peer.h"
#include "workers/federation/queries.h"

#include <stdlib.h>

enum { MISSING_MAX = 20, FETCH_ROUNDS = 16, FETCH_MAX = 2000 };

struct gap {
    struct call *call;
    const struct room_facts *room;
    const struct room_version *version;
};

/* ---- events by id, as outliers, with their own auth events first */
static enum fault unknown_of(struct gap *gap, struct slices ids, struct slices *unknown)
{
    struct db_batch *batch = call_batch(gap->call);
    struct db_result *result = q_unknown_events(batch, ids);
    enum fault fault = db_run(batch);
    size_t room = (size_t)(fault ? 0 : db_affected(result)), count = 0;
    struct slice *list = arena_new_array(gap->call->arena, room, struct slice);
    struct unknown_events_row row;
    while (count < room && unknown_events_next(result, &row))
        list[count++] = row.event_id;
    *unknown = (struct slices){list, count};
    return fault;
}

static int by_depth(const void *left, const void *right)
{
    const struct checked_pdu *a = left, *b = right;
    return (a->event->depth > b->event->depth) - (a->event->depth < b->event->depth);
}

/* Keeps the good ones of this room, oldest first. */
static void keep_and_sort(struct gap *gap, struct checked_pdu *pdus, size_t *count)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++)
        if (pdus[i].fault == FAULT_OK && slice_eq(pdus[i].event->room_id, gap->room->room_id))
            pdus[kept++] = pdus[i];
    *count = kept;
    qsort(pdus, kept, sizeof *pdus, by_depth);
}

static enum fault check_and_sort(struct gap *gap, struct checked_pdu *pdus, size_t *count)
{
    enum fault fault = pdus_check(gap->call, pdus, *count);
    if (!fault)
        keep_and_sort(gap, pdus, count);
    return fault;
}

static enum fault submit_outliers(struct gap *gap, const struct checked_pdu *pdus, size_t count)
{
    struct slice *texts = arena_new_array(gap->call->arena, count, struct slice);
    for (size_t i = 0; i < count; i++)
        texts[i] = pdus[i].text;
    struct room_receive_request request = {
        .room_id = gap->room->room_id, .origin = gap->call->origin, .pdus = {texts, count}, .mode = RECEIVE_OUTLIER};
    struct room_receive_reply reply;
    return count ? call_room_receive(gap->call, request.room_id, &request, &reply) : FAULT_OK;
}

static enum fault fetch_events(struct gap *gap, struct slices ids, struct checked_pdu *pdus, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < ids.len; i++) {
        struct peer_answer answer;
        struct slice uri =
            arena_printf(gap->call->arena, "/_matrix/federation/v1/event/%.*s", PRI(uri_encode(gap->call->arena, ids.at[i])));
        enum fault fault = peer_ask(gap->call, gap->call->origin, "GET", uri, SLICE_ABSENT, &answer);
        if (fault == FAULT_PEER_REFUSED)
            continue;
        if (fault)
            return fault;
        const struct json *list = json_get_array(answer.json, "pdus");
        if (list && list->first)
            pdus[(*count)++] = (struct checked_pdu){.version = gap->version, .text = list->first->span};
    }
    return FAULT_OK;
}

/* Everything in ids, and the auth chains below, known here afterwards as far as the peer has them. */
static enum fault fetch_outliers(struct gap *gap, struct slices ids)
{
    struct arena *arena = gap->call->arena;
    struct checked_pdu *all = arena_new_array(arena, FETCH_MAX, struct checked_pdu);
    struct map *asked = map_create(arena);
    size_t total = 0;
    for (int round = 0; round < FETCH_ROUNDS && ids.len; round++) {
        struct slices unknown;
        enum fault fault = unknown_of(gap, ids, &unknown);
        if (fault)
            return fault;
        struct slice *fresh = arena_new_array(arena, unknown.len, struct slice);
        size_t fresh_count = 0, count;
        for (size_t i = 0; i < unknown.len && total + fresh_count < FETCH_MAX; i++)
            if (map_put_i64(asked, unknown.at[i], 1))
                fresh[fresh_count++] = unknown.at[i];
        struct checked_pdu *pdus = arena_new_array(arena, fresh_count, struct checked_pdu);
        if ((fault = fetch_events(gap, (struct slices){fresh, fresh_count}, pdus, &count)) ||
            (fault = check_and_sort(gap, pdus, &count)))
            return fault;
        struct slice *next = arena_new_array(arena, count * AUTH_EVENTS_MAX * 2, struct slice);
        size_t next_count = 0;
        for (size_t i = 0; i < count; i++) {
            all[total++] = pdus[i];
            for (size_t k = 0; k < pdus[i].event->auth_events.len && k < AUTH_EVENTS_MAX * 2; k++)
                next[next_count++] = pdus[i].event->auth_events.at[k];
        }
        ids = (struct slices){next, next_count};
    }
    qsort(all, total, sizeof *all, by_depth);
    return submit_outliers(gap, all, total);
}

/* ---- step 2 */
static enum fault missing_events(struct gap *gap, const struct event *event, struct checked_pdu **out, size_t *count)
{
    struct call *call = gap->call;
    struct event_rows heads;
    *count = 0;
    enum fault fault = event_rows_by_nid(call, gap->room->extremities, &heads);
    if (fault)
        return fault;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_i64(&w, "limit", MISSING_MAX);
    json_put_i64(&w, "min_depth", 0);
    json_put_array(&w, "earliest_events");
    for (size_t i = 0; i < heads.count; i++)
        json_add_string(&w, heads.at[i].event_id);
    json_end_array(&w);
    json_put_array(&w, "latest_events");
    json_add_string(&w, event->event_id);
    json_end_array(&w);
    json_end_object(&w);
    struct slice uri = arena_printf(call->arena, "/_matrix/federation/v1/get_missing_events/%.*s",
                                    PRI(uri_encode(call->arena, gap->room->room_id)));
    struct peer_answer answer;
    fault = peer_ask(call, call->origin, "POST", uri, json_done(&w), &answer);
    if (fault)
        return fault == FAULT_PEER_REFUSED ? FAULT_OK : fault;
    const struct json *list = json_get_array(answer.json, "events");
    size_t room = list ? list->count : 0;
    *out = arena_new_array(call->arena, room, struct checked_pdu);
    json_each (item, list)
        if (*count < MISSING_MAX)
            (*out)[(*count)++] = (struct checked_pdu){.version = gap->version, .text = item->span};
    if ((fault = pdus_check(call, *out, *count)))
        return fault;
    for (size_t i = 0; i < *count; i++)
        if ((*out)[i].fault == FAULT_BAD_JSON || (*out)[i].fault == FAULT_TOO_LARGE)
            return FAULT_BAD_JSON; /* what follows on something that is no event cannot be placed either */
    keep_and_sort(gap, *out, count);
    return FAULT_OK;
}

/* ---- step 3 */
/* The state after an event that we do not have: what /state_ids says stood before it, and the event itself, last. */
static enum fault state_ids_after(struct gap *gap, struct slice event_id, struct slice *ids, size_t room, size_t *count)
{
    struct call *call = gap->call;
    struct slice uri = arena_printf(call->arena, "/_matrix/federation/v1/state_ids/%.*s?event_id=%.*s",
                                    PRI(uri_encode(call->arena, gap->room->room_id)), PRI(uri_encode(call->arena, event_id)));
    struct peer_answer answer;
    enum fault fault = peer_ask(call, call->origin, "GET", uri, SLICE_ABSENT, &answer);
    if (fault)
        return fault;
    const struct json *state = json_get_array(answer.json, "pdu_ids"), *auth = json_get_array(answer.json, "auth_chain_ids");
    struct slice *wanted = arena_new_array(call->arena, (state ? state->count : 0) + (auth ? auth->count : 0) + 1, struct slice);
    size_t wanted_count = 0;
    json_each (id, state) {
        if (!json_is(id, JSON_STRING) || *count + 1 >= room)
            continue;
        ids[(*count)++] = wanted[wanted_count++] = id->text;
    }
    json_each (id, auth)
        if (json_is(id, JSON_STRING))
            wanted[wanted_count++] = id->text;
    ids[(*count)++] = wanted[wanted_count++] = event_id;
    return fetch_outliers(gap, (struct slices){wanted, wanted_count});
}

/* For each of the event's prev events that is not in our DAG. */
static enum fault states_of_missing(struct gap *gap, const struct event *event, struct slices missing, struct slices *ids,
                                    struct i64s *ends)
{
    enum { IDS_MAX = 200000 };
    struct slice *all = arena_new_array(gap->call->arena, IDS_MAX, struct slice);
    int64_t *cuts = arena_new_array(gap->call->arena, event->prev_events.len, int64_t);
    size_t count = 0, sets = 0;
    for (size_t i = 0; i < event->prev_events.len; i++) {
        bool is_missing = false;
        for (size_t k = 0; k < missing.len; k++)
            is_missing |= slice_eq(missing.at[k], event->prev_events.at[i]);
        if (!is_missing)
            continue;
        enum fault fault = state_ids_after(gap, event->prev_events.at[i], all, IDS_MAX, &count);
        if (fault)
            return fault;
        cuts[sets++] = (int64_t)count;
    }
    *ids = (struct slices){all, count};
    *ends = (struct i64s){cuts, sets};
    return FAULT_OK;
}

static enum fault fetch_auth_events(struct gap *gap, const struct checked_pdu *pdus, size_t count)
{
    struct slice *ids = arena_new_array(gap->call->arena, count * AUTH_EVENTS_MAX * 2, struct slice);
    size_t id_count = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < pdus[i].event->auth_events.len && k < AUTH_EVENTS_MAX * 2; k++) {
            bool within = false;
            for (size_t other = 0; other < count && !within; other++)
                within = slice_eq(pdus[other].event->event_id, pdus[i].event->auth_events.at[k]);
            if (!within)
                ids[id_count++] = pdus[i].event->auth_events.at[k];
        }
    return fetch_outliers(gap, (struct slices){ids, id_count});
}

/* One event in its place; with the states after its prev events when those stay unknown. */
static enum fault place(struct gap *gap, const struct checked_pdu *pdu, struct slice *why)
{
    struct room_receive_reply reply;
    struct room_receive_request request = {
        .room_id = gap->room->room_id, .origin = gap->call->origin, .pdus = {&pdu->text, 1}, .mode = RECEIVE_LIVE};
    enum fault fault = call_room_receive(gap->call, request.room_id, &request, &reply);
    if (fault || reply.results.len == 0)
        return fault ? fault : FAULT_INTERNAL;
    if (reply.results.at[0] == FAULT_MISSING_EVENTS) {
        if ((fault = states_of_missing(gap, pdu->event, reply.missing, &request.state_event_ids, &request.state_ends)))
            return fault;
        if (request.state_event_ids.len == 0)
            return FAULT_MISSING_EVENTS; /* auth events that could not be had */
        request.mode = RECEIVE_WITH_STATE;
        if ((fault = call_room_receive(gap->call, request.room_id, &request, &reply)))
            return fault;
    }
    *why = reply.whys.len ? reply.whys.at[0] : SLICE_ABSENT;
    return reply.results.len ? (enum fault)reply.results.at[0] : FAULT_INTERNAL;
}

enum fault gap_fill(struct call *call, const struct room_facts *room, struct event *event, struct slice *why)
{
    struct gap gap = {.call = call, .room = room, .version = event->version};
    struct slices unknown_prev;
    struct checked_pdu *between = NULL, last = {.version = event->version, .text = event->raw, .event = event};
    size_t count = 0;
    log_event(LOG_INFO, "events are missing before a PDU", LOG_STR("origin", call->origin), LOG_STR("room", room->room_id),
              LOG_STR("event", event->event_id));
    enum fault fault = unknown_of(&gap, event->prev_events, &unknown_prev);
    if (!fault && unknown_prev.len) /* else only auth events are missing */
        fault = missing_events(&gap, event, &between, &count);
    if (!fault && count)
        fault = fetch_auth_events(&gap, between, count);
    for (size_t i = 0; i < count && !fault; i++) {
        struct slice ignored;
        enum fault placed = place(&gap, &between[i], &ignored);
        if (placed && fault_facts(placed)->retryable && placed != FAULT_MISSING_EVENTS && placed != FAULT_PEER)
            fault = placed;
    }
    if (!fault)
        fault = fetch_auth_events(&gap, &last, 1);
    if (!fault)
        fault = place(&gap, &last, why);
    if (fault && slice_is_absent(*why))
        *why = SLICE("events before it could not be had");
    return fault;
}
