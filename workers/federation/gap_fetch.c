/* Fetching missing events; see gap_fetch.h. */
#include "workers/federation/gap_fetch.h"

#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/uri.h"
#include "proto/stubs.h"
#include "workers/federation/peer.h"
#include "workers/federation/queries.h"

#include <stdlib.h>

enum {
    AT_ONCE = 8,       /* questions on their way to a server */
    BATCH = 64,        /* events that are checked and stored before the next are asked for: progress that survives us */
    ROUNDS = 16,       /* auth events of auth events of… */
    EVENTS_MAX = 2000, /* one by one; more come by /state or not at all */
    STATE_FROM = 50,   /* from so many unknown events on /state costs less than asking for each */
    SUBMIT = 500,
};

enum fault gap_unknown(struct gap *gap, struct slices ids, struct slices *unknown)
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

void gap_keep_and_sort(const struct gap *gap, struct checked_pdu *pdus, size_t *count)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++)
        if (pdus[i].fault == FAULT_OK && slice_eq(pdus[i].event->room_id, gap->room->room_id))
            pdus[kept++] = pdus[i];
    *count = kept;
    if (kept > 1)
        qsort(pdus, kept, sizeof *pdus, by_depth);
}

/* ---- storing. Those whose auth events are still missing stay in the list. */
static enum fault submit(struct gap *gap, struct checked_pdu *pdus, size_t *count)
{
    size_t left = 0, total = *count;
    if (total > 1)
        qsort(pdus, total, sizeof *pdus, by_depth);
    for (size_t from = 0; from < total; from += SUBMIT) {
        size_t length = total - from < SUBMIT ? total - from : SUBMIT;
        struct slice *texts = arena_new_array(gap->call->arena, length, struct slice);
        for (size_t i = 0; i < length; i++)
            texts[i] = pdus[from + i].text;
        struct room_receive_request request = {
            .room_id = gap->room->room_id, .origin = gap->server, .pdus = {texts, length}, .mode = RECEIVE_OUTLIER};
        struct room_receive_reply reply;
        enum fault fault = call_room_receive(gap->call, request.room_id, &request, &reply);
        if (fault)
            return fault;
        for (size_t i = 0; i < length && i < reply.results.len; i++)
            if (reply.results.at[i] == FAULT_MISSING_EVENTS)
                pdus[left++] = pdus[from + i];
    }
    *count = left;
    return FAULT_OK;
}

/* ---- one by one */
static enum fault ask_for_events(struct gap *gap, const struct slice *ids, size_t count, struct checked_pdu *pdus, size_t *got)
{
    struct call *call = gap->call;
    enum fault first = FAULT_OK;
    *got = 0;
    for (size_t from = 0; from < count && !first; from += AT_ONCE) {
        struct bus_ticket *tickets[AT_ONCE];
        size_t length = count - from < AT_ONCE ? count - from : AT_ONCE;
        for (size_t i = 0; i < length; i++) {
            struct slice uri =
                arena_printf(call->arena, "/_matrix/federation/v1/event/%.*s", PRI(uri_encode(call->arena, ids[from + i])));
            tickets[i] = peer_ask_send(call, gap->server, "GET", uri, SLICE_ABSENT);
        }
        for (size_t i = 0; i < length; i++) {
            struct peer_answer answer;
            enum fault fault = peer_ask_wait(call, tickets[i], &answer);
            const struct json *list = fault ? NULL : json_get_array(answer.json, "pdus");
            if (list && list->first)
                pdus[(*got)++] = (struct checked_pdu){.version = gap->version, .text = list->first->span};
            else if (fault && fault != FAULT_PEER_REFUSED && !first)
                first = fault;
        }
    }
    return first;
}

static void add_auth_events(struct slice *ids, size_t *count, const struct event *event)
{
    for (size_t k = 0; k < event->auth_events.len && k < AUTH_EVENTS_MAX; k++)
        ids[(*count)++] = event->auth_events.at[k];
}

enum fault gap_fetch_events(struct gap *gap, struct slices ids)
{
    struct arena *arena = gap->call->arena;
    struct checked_pdu *waiting = arena_new_array(arena, EVENTS_MAX, struct checked_pdu); /* for their auth events */
    struct map *asked = map_create(arena);
    size_t waiting_count = 0, total = 0;
    for (int round = 0; round < ROUNDS && ids.len; round++) {
        struct slices unknown;
        enum fault fault = gap_unknown(gap, ids, &unknown);
        if (fault)
            return fault;
        struct slice *fresh = arena_new_array(arena, unknown.len, struct slice);
        size_t fresh_count = 0, next_count = 0;
        for (size_t i = 0; i < unknown.len && total < EVENTS_MAX; i++) {
            if (!map_put_i64(asked, unknown.at[i], 1))
                continue;
            fresh[fresh_count++] = unknown.at[i];
            total++;
        }
        struct slice *next = arena_new_array(arena, fresh_count * AUTH_EVENTS_MAX, struct slice);
        for (size_t from = 0; from < fresh_count; from += BATCH) {
            size_t length = fresh_count - from < BATCH ? fresh_count - from : BATCH, got;
            struct checked_pdu *pdus = waiting + waiting_count;
            enum fault asking = ask_for_events(gap, fresh + from, length, pdus, &got);
            if ((fault = pdus_check(gap->call, pdus, got)))
                return fault;
            gap_keep_and_sort(gap, pdus, &got);
            for (size_t i = 0; i < got; i++)
                add_auth_events(next, &next_count, pdus[i].event);
            waiting_count += got;
            if ((fault = submit(gap, waiting, &waiting_count)) || (fault = asking))
                return fault;
        }
        ids = (struct slices){next, next_count};
    }
    return FAULT_OK;
}

/* ---- the state at an event */
static size_t add_strings(struct slice *to, size_t count, size_t room, const struct json *array)
{
    json_each (item, array)
        if (json_is(item, JSON_STRING) && count < room)
            to[count++] = item->text;
    return count;
}

static enum fault ask_state(struct gap *gap, const char *endpoint, struct slice event_id, struct peer_answer *answer)
{
    struct arena *arena = gap->call->arena;
    struct slice uri = arena_printf(arena, "/_matrix/federation/v1/%s/%.*s?event_id=%.*s", endpoint,
                                    PRI(uri_encode(arena, gap->room->room_id)), PRI(uri_encode(arena, event_id)));
    return peer_ask(gap->call, gap->server, "GET", uri, SLICE_ABSENT, answer);
}

static enum fault fetch_whole_state(struct gap *gap, struct slice event_id)
{
    struct peer_answer answer;
    enum fault fault = ask_state(gap, "state", event_id, &answer);
    if (fault)
        return fault;
    const struct json *lists[2] = {json_get_array(answer.json, "auth_chain"), json_get_array(answer.json, "pdus")};
    size_t room = (lists[0] ? lists[0]->count : 0) + (lists[1] ? lists[1]->count : 0), count = 0;
    struct checked_pdu *pdus = arena_new_array(gap->call->arena, room, struct checked_pdu);
    for (size_t i = 0; i < 2; i++)
        json_each (item, lists[i])
            pdus[count++] = (struct checked_pdu){.version = gap->version, .text = item->span};
    if ((fault = pdus_check(gap->call, pdus, count)))
        return fault;
    gap_keep_and_sort(gap, pdus, &count);
    return submit(gap, pdus, &count);
}

enum fault gap_fetch_state(struct gap *gap, struct slice event_id, struct slice *ids, size_t room, size_t *count)
{
    struct peer_answer answer;
    struct slices unknown;
    enum fault fault = ask_state(gap, "state_ids", event_id, &answer);
    if (fault)
        return fault;
    const struct json *state = json_get_array(answer.json, "pdu_ids"), *auth = json_get_array(answer.json, "auth_chain_ids");
    if (!state || *count + state->count + 1 > room)
        return FAULT_PEER_REFUSED; /* that is no answer */
    size_t wanted_room = state->count + (auth ? auth->count : 0) + 1, set = *count;
    struct slice *wanted = arena_new_array(gap->call->arena, wanted_room, struct slice);
    size_t wanted_count = add_strings(wanted, 0, wanted_room - 1, auth);
    wanted_count = add_strings(wanted, wanted_count, wanted_room - 1, state);
    wanted[wanted_count++] = event_id;
    *count = add_strings(ids, set, room - 1, state);
    ids[(*count)++] = event_id;

    if ((fault = gap_unknown(gap, (struct slices){wanted, wanted_count}, &unknown)))
        return fault;
    if (unknown.len > STATE_FROM && (fault = fetch_whole_state(gap, event_id)) && fault != FAULT_PEER_REFUSED)
        return fault;
    if (unknown.len && (fault = gap_fetch_events(gap, unknown)))
        return fault;
    if ((fault = gap_unknown(gap, (struct slices){ids + set, *count - set}, &unknown)))
        return fault;
    if (unknown.len == 0)
        return FAULT_OK;
    log_event(LOG_INFO, "a state could not be had whole", LOG_STR("server", gap->server), LOG_STR("event", event_id),
              LOG_I64("missing", (int64_t)unknown.len));
    return FAULT_MISSING_EVENTS;
}
