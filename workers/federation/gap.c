/* Filling gaps, in the order of cost; see gap.h:
 *   1. get_missing_events between our heads and the event
 *   2. the auth events of all of them, as outliers (gap_fetch.c)
 *   3. where that does not reach our history: the state before the oldest one by /state_ids, its unknown events as outliers
 * The event that was pushed to us gets no step 3: it could become the room's only head, and then a state that its sender made up
 * would be the room's. Who pushes an event has what stands before it, and divulges it or goes without. */
#include "workers/federation/gap.h"

#include "lib/base/log.h"
#include "lib/base/uri.h"
#include "proto/stubs.h"
#include "workers/federation/gap_fetch.h"
#include "workers/federation/gate.h"
#include "workers/federation/peer.h"

enum { MISSING_MAX = 20, SERVERS_MAX = 3, STATE_IDS_MAX = 200000 };

/* Is it for another server to try? Else it is our own trouble, and the same call may succeed later. */
static bool is_the_peers(enum fault fault)
{
    return fault == FAULT_PEER || fault == FAULT_PEER_REFUSED || fault == FAULT_MISSING_EVENTS || fault == FAULT_TOO_LARGE;
}

/* The origin first: it has what it sent. */
static enum fault choose_servers(struct gap *gap)
{
    struct slices joined;
    enum fault fault = room_servers(gap->call, gap->room->room_nid, &joined);
    if (fault)
        return fault;
    struct slice *list = arena_new_array(gap->call->arena, SERVERS_MAX, struct slice);
    size_t count = 0;
    list[count++] = gap->call->origin;
    for (size_t i = 0; i < joined.len && count < SERVERS_MAX; i++)
        if (!slice_eq(joined.at[i], gap->call->origin) && !slice_eq(joined.at[i], server_name()))
            list[count++] = joined.at[i];
    gap->servers = (struct slices){list, count};
    gap->server = list[0];
    return FAULT_OK;
}

/* ---- step 1 */
static struct slice missing_question(struct gap *gap, const struct event *event, const struct event_rows *heads)
{
    struct json_writer w = json_writer_in(gap->call->arena);
    json_begin_object(&w);
    json_put_i64(&w, "limit", MISSING_MAX);
    json_put_i64(&w, "min_depth", 0);
    json_put_array(&w, "earliest_events");
    for (size_t i = 0; i < heads->count; i++)
        json_add_string(&w, heads->at[i].event_id);
    json_end_array(&w);
    json_put_array(&w, "latest_events");
    json_add_string(&w, event->event_id);
    json_end_array(&w);
    json_end_object(&w);
    return json_done(&w);
}

static enum fault missing_events(struct gap *gap, const struct event *event, struct checked_pdu **out, size_t *count)
{
    struct call *call = gap->call;
    struct event_rows heads;
    *count = 0;
    enum fault fault = event_rows_by_nid(call, gap->room->extremities, &heads);
    if (fault)
        return fault;
    struct slice uri = arena_printf(call->arena, "/_matrix/federation/v1/get_missing_events/%.*s",
                                    PRI(uri_encode(call->arena, gap->room->room_id)));
    struct peer_answer answer;
    fault = peer_ask(call, gap->server, "POST", uri, missing_question(gap, event, &heads), &answer);
    if (fault)
        return fault;
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
    gap_keep_and_sort(gap, *out, count);
    return FAULT_OK;
}

static enum fault missing_events_of_any(struct gap *gap, const struct event *event, struct checked_pdu **out, size_t *count)
{
    enum fault fault = FAULT_OK;
    for (size_t i = 0; i < gap->servers.len; i++) {
        gap->server = gap->servers.at[i];
        fault = missing_events(gap, event, out, count);
        if (!is_the_peers(fault) && (fault || *count))
            return fault;
    }
    gap->server = gap->servers.at[0];
    return is_the_peers(fault) ? FAULT_OK : fault; /* then its auth events may be all that is missing */
}

/* ---- step 2 */
static enum fault fetch_auth_events(struct gap *gap, const struct checked_pdu *pdus, size_t count)
{
    struct slice *ids = arena_new_array(gap->call->arena, count * AUTH_EVENTS_MAX, struct slice);
    size_t id_count = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < pdus[i].event->auth_events.len && k < AUTH_EVENTS_MAX; k++) {
            bool within = false;
            for (size_t other = 0; other < count && !within; other++)
                within = slice_eq(pdus[other].event->event_id, pdus[i].event->auth_events.at[k]);
            if (!within)
                ids[id_count++] = pdus[i].event->auth_events.at[k];
        }
    enum fault fault = FAULT_OK;
    for (size_t i = 0; i < gap->servers.len; i++) {
        struct slices unknown;
        gap->server = gap->servers.at[i];
        if ((fault = gap_unknown(gap, (struct slices){ids, id_count}, &unknown)))
            return fault;
        if (unknown.len == 0)
            return FAULT_OK;
        if ((fault = gap_fetch_events(gap, unknown)) && !is_the_peers(fault))
            return fault;
    }
    return FAULT_OK; /* what is missing still is found missing where it is needed */
}

/* ---- step 3 */
static enum fault state_of_any(struct gap *gap, struct slice event_id, struct slice *ids, size_t *count)
{
    enum fault first = FAULT_OK;
    const size_t before = *count;
    for (size_t i = 0; i < gap->servers.len; i++) {
        gap->server = gap->servers.at[i];
        *count = before;
        enum fault fault = gap_fetch_state(gap, event_id, ids, STATE_IDS_MAX, count);
        if (!is_the_peers(fault))
            return fault;
        first = first ? first : fault;
    }
    return first;
}

/* For each of the event's prev events that is not in our DAG. */
static enum fault states_of_missing(struct gap *gap, const struct event *event, struct slices missing, struct slices *ids,
                                    struct i64s *ends)
{
    struct slice *all = arena_new_array(gap->call->arena, STATE_IDS_MAX, struct slice);
    int64_t *cuts = arena_new_array(gap->call->arena, event->prev_events.len, int64_t);
    size_t count = 0, sets = 0;
    for (size_t i = 0; i < event->prev_events.len; i++) {
        bool is_missing = false;
        for (size_t k = 0; k < missing.len; k++)
            is_missing |= slice_eq(missing.at[k], event->prev_events.at[i]);
        if (!is_missing)
            continue;
        enum fault fault = state_of_any(gap, event->prev_events.at[i], all, &count);
        if (fault)
            return fault;
        cuts[sets++] = (int64_t)count;
    }
    *ids = (struct slices){all, count};
    *ends = (struct i64s){cuts, sets};
    return FAULT_OK;
}

/* ---- one event in its place. was_pushed: not by get_missing_events; see above. */
static enum fault place(struct gap *gap, const struct checked_pdu *pdu, bool was_pushed, struct slice *why)
{
    struct room_receive_reply reply;
    struct room_receive_request request = {
        .room_id = gap->room->room_id, .origin = gap->call->origin, .pdus = {&pdu->text, 1}, .mode = RECEIVE_LIVE};
    enum fault fault = call_room_receive(gap->call, request.room_id, &request, &reply);
    if (fault || reply.results.len == 0)
        return fault ? fault : FAULT_INTERNAL;
    if (reply.results.at[0] == FAULT_MISSING_EVENTS && !was_pushed) {
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

static enum fault fill(struct gap *gap, struct event *event, struct slice *why)
{
    struct slices unknown_prev;
    struct checked_pdu *between = NULL, last = {.version = event->version, .text = event->raw, .event = event};
    size_t count = 0;
    enum fault fault = choose_servers(gap);
    if (fault || (fault = gap_unknown(gap, event->prev_events, &unknown_prev)))
        return fault;
    if (unknown_prev.len && (fault = missing_events_of_any(gap, event, &between, &count))) /* else only auth events are missing */
        return fault;
    if (count && (fault = fetch_auth_events(gap, between, count)))
        return fault;
    for (size_t i = 0; i < count; i++) {
        struct slice ignored;
        fault = place(gap, &between[i], false, &ignored);
        if (fault && fault_facts(fault)->retryable && !is_the_peers(fault))
            return fault;
    }
    if ((fault = fetch_auth_events(gap, &last, 1)))
        return fault;
    return place(gap, &last, true, why);
}

enum fault gap_fill(struct call *call, const struct room_facts *room, struct event *event, struct slice *why)
{
    struct gap gap = {.call = call, .room = room, .version = event->version};
    struct gate_place *gate;
    log_event(LOG_INFO, "events are missing before a PDU", LOG_STR("origin", call->origin), LOG_STR("room", room->room_id),
              LOG_STR("event", event->event_id));
    enum fault fault = gate_enter(call, GATE_GAP, &gate);
    if (fault)
        return fault;
    fault = fill(&gap, event, why);
    gate_leave(gate);
    if (fault && slice_is_absent(*why))
        *why = SLICE("events before it could not be had");
    return fault;
}
