/* Taking a room over; see join_import.h. A few portions at a time are checked and sent on: while `events` stores one, the next
 * one's signatures are verified, and what both needed is let go before the next few (DESIGN §9). */
#include "workers/federation/join_import.h"

#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/matrix/ids.h"
#include "lib/store/room_read.h"
#include "proto/stubs.h"
#include "workers/federation/join_answer.h"
#include "workers/federation/pdu_check.h"

enum {
    PORTION = 250 /* events that `events` is asked to store at a time, in transactions of the size that it finds right */,
    AT_ONCE = 8,
    BYTES_AT_ONCE = 2 * 1024 * 1024,
    SERVERS_AT_ONCE = 500,
    TRIES = 40,
    PAUSE_MS = 250
};

struct importing {
    struct call *call;
    const struct room_version *version;
    struct slice room_id, join_text;
    struct join_answer answer;
    int64_t start_ms, longest_us;
    size_t left_out;
};

/* Whether to do it again after a worker died or a race was lost; everything asked for here may be repeated. */
static bool tries_again(const struct importing *importing, enum fault fault, int *tries)
{
    bool again = (fault == FAULT_UNAVAILABLE || fault == FAULT_CONFLICT) && ++*tries < TRIES &&
                 clock_monotonic_ms() + PAUSE_MS < importing->call->deadline_ms;
    if (again)
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000}, NULL);
    return again;
}

/* ---- the keys: one event of each server that signed, before all others. A server that does not answer costs ten seconds; met one
 * after another in the portions, the dead ones of a large room would cost hours. */
static enum fault ask_for_keys(struct importing *importing)
{
    struct call *call = importing->call;
    const struct join_answer *answer = &importing->answer;
    enum fault fault = FAULT_OK;
    for (size_t at = 0; at < answer->signer_count && !fault;) {
        struct arena_mark mark = arena_mark(call->arena);
        struct checked_pdu *pdus = arena_new_array(call->arena, SERVERS_AT_ONCE, struct checked_pdu);
        size_t count = 0;
        for (size_t bytes = 0; at < answer->signer_count && count < SERVERS_AT_ONCE && bytes < BYTES_AT_ONCE; at++) {
            struct slice text = answer->pdus[answer->signed_first[at]].text;
            bytes += text.len;
            pdus[count++] = (struct checked_pdu){.version = importing->version, .text = text};
        }
        fault = pdus_check(call, pdus, count);
        arena_release(call->arena, mark);
        call->why = SLICE_ABSENT;
    }
    return fault == FAULT_UNAVAILABLE ? FAULT_OK : fault; /* the portions ask again */
}

/* ---- the bulk */

struct portion {
    struct bus_ticket *ticket;
    uint32_t *indexes; /* of the events that were sent */
    size_t count;
};

/* Signatures and hashes of the events order[from…], then off to `events`. */
static enum fault send_portion(struct importing *importing, size_t from, size_t count, struct portion *out)
{
    struct call *call = importing->call;
    const struct join_answer *answer = &importing->answer;
    struct checked_pdu *pdus = arena_new_array(call->arena, count, struct checked_pdu);
    for (size_t i = 0; i < count; i++)
        pdus[i] = (struct checked_pdu){.version = importing->version, .text = answer->pdus[answer->order[from + i]].text};
    enum fault fault = pdus_check(call, pdus, count);
    if (fault)
        return fault;
    *out = (struct portion){.indexes = arena_new_array(call->arena, count, uint32_t)};
    struct slice *texts = arena_new_array(call->arena, count, struct slice);
    for (size_t i = 0; i < count; i++) {
        uint32_t index = answer->order[from + i];
        answer->pdus[index].result = pdus[i].fault;
        if (pdus[i].fault) {
            log_event(LOG_DEBUG, "an event of a send_join answer is left out", LOG_STR("room", importing->room_id),
                      LOG_CSTR("why", pdus[i].why ? pdus[i].why : "bad format"));
            continue;
        }
        out->indexes[out->count] = index;
        texts[out->count++] = pdus[i].text;
    }
    struct room_import_events_request request = {
        .room_id = importing->room_id, .room_version = slice_from_cstr(importing->version->id), .events = {texts, out->count}};
    out->ticket = call_room_import_events_send(call, importing->room_id, &request);
    return FAULT_OK;
}

static enum fault take_results(struct importing *importing, const struct portion *portion)
{
    struct room_import_events_reply reply;
    enum fault fault = call_bus_wait(importing->call, portion->ticket, &reply);
    if (fault)
        return fault;
    if (reply.results.len != portion->count || reply.event_nids.len != portion->count || reply.state_key_nids.len != portion->count)
        return FAULT_VERSION_MISMATCH;
    for (size_t i = 0; i < portion->count; i++) {
        struct join_pdu *pdu = &importing->answer.pdus[portion->indexes[i]];
        pdu->result = reply.results.at[i];
        pdu->event_nid = reply.event_nids.at[i];
        pdu->state_key_nid = reply.state_key_nids.at[i];
    }
    if (reply.longest_us > importing->longest_us)
        importing->longest_us = reply.longest_us;
    return FAULT_OK;
}

/* The next few portions. *at moves behind them when they are stored. */
static enum fault store_some(struct importing *importing, size_t *at)
{
    const struct join_answer *answer = &importing->answer;
    struct portion portions[AT_ONCE];
    size_t sent = 0, next = *at, bytes = 0;
    enum fault fault = FAULT_OK;
    while (!fault && sent < AT_ONCE && next < answer->order_count && bytes < BYTES_AT_ONCE) {
        size_t count = 0;
        while (count < PORTION && next + count < answer->order_count && bytes < BYTES_AT_ONCE)
            bytes += answer->pdus[answer->order[next + count++]].text.len;
        if ((fault = send_portion(importing, next, count, &portions[sent])))
            break;
        sent++;
        next += count;
    }
    for (size_t i = 0; i < sent; i++) {
        enum fault stored = take_results(importing, &portions[i]);
        fault = fault ? fault : stored;
    }
    if (!fault)
        *at = next;
    return fault;
}

static enum fault store_all(struct importing *importing)
{
    struct call *call = importing->call;
    const struct join_answer *answer = &importing->answer;
    int tries = 0;
    for (size_t at = 0; at < answer->order_count;) {
        struct arena_mark mark = arena_mark(call->arena);
        enum fault fault = store_some(importing, &at);
        if (fault && !tries_again(importing, fault, &tries))
            return fault; /* call->why lives in what would be let go */
        arena_release(call->arena, mark);
        call->why = SLICE_ABSENT;
        tries = fault ? tries : 0;
    }
    for (size_t i = 0; i < answer->order_count; i++)
        importing->left_out += answer->pdus[answer->order[i]].event_nid == 0;
    return FAULT_OK;
}

/* ---- the create event: without it, or with one of another version, this is not the room. */
static enum fault check_create(struct importing *importing)
{
    const struct join_answer *answer = &importing->answer;
    struct event *create;
    importing->call->why = SLICE("no create event that verifies");
    if (answer->create == answer->count || answer->pdus[answer->create].result || !answer->pdus[answer->create].event_nid)
        return FAULT_PEER;
    if (event_parse(importing->call->arena, importing->version, answer->pdus[answer->create].text, &create, NULL))
        return FAULT_PEER;
    struct slice version = json_get_string(create->content, "room_version");
    importing->call->why = SLICE("the create event names another room version");
    if (!slice_eq(slice_is_absent(version) ? SLICE("1") : version, slice_from_cstr(importing->version->id)))
        return FAULT_PEER;
    importing->call->why = SLICE_ABSENT;
    return FAULT_OK;
}

/* ---- the join */

/* Restricted rooms: the resident server answers the event with the signature of who authorised it added. Nothing else of it is
 * taken. */
static enum fault take_join(struct importing *importing, const struct templated *templated)
{
    struct call *call = importing->call;
    const struct event *event = templated->event;
    struct slice voucher = json_get_string(event->content, "join_authorised_via_users_server");
    importing->join_text = event->raw;
    if (slice_is_absent(voucher) || slice_is_absent(importing->answer.event))
        return FAULT_OK;
    const struct json *returned = json_parse(call->arena, importing->answer.event, JSON_LAX, NULL);
    enum fault fault = pdu_countersigned(call, event, returned, id_server_name(voucher), &importing->join_text);
    if (fault == FAULT_INVALID_SIGNATURE || fault == FAULT_PEER) {
        log_event(LOG_WARN, "a restricted join came back without its second signature", LOG_STR("room", importing->room_id));
        return FAULT_OK; /* it is in all the same: the other server's room knows it with a signature */
    }
    return fault;
}

static enum fault show(struct importing *importing, struct slice *event_id, bool *is_ours)
{
    struct call *call = importing->call;
    const struct join_answer *answer = &importing->answer;
    int64_t *nids = arena_new_array(call->arena, answer->count, int64_t);
    int64_t *key_nids = arena_new_array(call->arena, answer->count, int64_t);
    size_t count = 0;
    for (size_t i = 0; i < answer->count; i++) {
        if (!answer->pdus[i].is_state || !answer->pdus[i].state_key_nid)
            continue;
        nids[count] = answer->pdus[i].event_nid;
        key_nids[count++] = answer->pdus[i].state_key_nid;
    }
    struct room_import_join_request request = {.room_id = importing->room_id,
                                               .join_event = importing->join_text,
                                               .event_nids = {nids, count},
                                               .state_key_nids = {key_nids, count}};
    struct room_import_join_reply reply;
    enum fault fault;
    int tries = 0;
    do
        fault = call_room_import_join(call, importing->room_id, &request, &reply);
    while (fault && tries_again(importing, fault, &tries));
    if (fault)
        return fault;
    *event_id = reply.event_id;
    *is_ours = reply.is_ours;
    if (reply.longest_us > importing->longest_us)
        importing->longest_us = reply.longest_us;
    log_event(LOG_INFO, "a room was taken over", LOG_STR("room", importing->room_id), LOG_I64("state", (int64_t)count),
              LOG_I64("events", (int64_t)answer->order_count), LOG_I64("left_out", (int64_t)importing->left_out),
              LOG_I64("ms", clock_monotonic_ms() - importing->start_ms), LOG_I64("longest_write_us", importing->longest_us));
    return FAULT_OK;
}

/* ---- a room that other users of ours are in: the join is an event like any other. */
static enum fault receive(struct importing *importing, struct slice origin, bool with_state, enum fault *result)
{
    struct call *call = importing->call;
    struct room_receive_request request = {.room_id = importing->room_id,
                                           .origin = origin,
                                           .pdus = {&importing->join_text, 1},
                                           .mode = with_state ? RECEIVE_WITH_STATE : RECEIVE_LIVE};
    if (with_state)
        request.state_event_ids = join_answer_state_ids(call, &importing->answer);
    struct room_receive_reply reply;
    enum fault fault;
    int tries = 0;
    do
        fault = call_room_receive(call, importing->room_id, &request, &reply);
    while (fault && tries_again(importing, fault, &tries));
    *result = fault || reply.results.len != 1 ? FAULT_UNAVAILABLE : (enum fault)reply.results.at[0];
    if (*result == FAULT_REJECTED && reply.whys.len == 1)
        call->why = reply.whys.at[0];
    return fault;
}

static enum fault is_ours(struct call *call, struct slice room_id, bool *out)
{
    struct room_facts room;
    *out = false;
    enum fault fault = room_find(call, room_id, &room);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    *out = room.extremities.len && server_is_joined(call, room.room_nid, server_name(), &fault);
    return fault;
}

enum fault join_import(struct call *call, const struct templated *templated, struct slice room_id, struct slice *event_id)
{
    struct importing importing = {
        .call = call, .version = templated->version, .room_id = room_id, .start_ms = clock_monotonic_ms()};
    bool ours;
    enum fault fault, received = FAULT_MISSING_EVENTS;
    if ((fault = join_answer_read(call, importing.version, room_id, templated->answer.body, &importing.answer)) ||
        (fault = take_join(&importing, templated)) || (fault = is_ours(call, room_id, &ours)))
        return fault;
    *event_id = templated->event->event_id;
    if (ours && (fault = receive(&importing, templated->server, false, &received)))
        return fault;
    if (received != FAULT_MISSING_EVENTS)
        return received;
    if ((fault = ask_for_keys(&importing)) || (fault = store_all(&importing)) || (fault = check_create(&importing)) ||
        (fault = show(&importing, event_id, &ours)))
        return fault;
    if (!ours)
        return FAULT_OK;
    if ((fault = receive(&importing, templated->server, false, &received)))
        return fault;
    if (received == FAULT_MISSING_EVENTS && (fault = receive(&importing, templated->server, true, &received)))
        return fault;
    return received;
}
