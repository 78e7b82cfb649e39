/* PUT send_join, send_leave, send_knock (versions 1 and 2): signed membership events of other servers' users enter the room here,
 * and are passed on. */
#include "lib/matrix/ids.h"
#include "lib/store/restricted_join.h"
#include "lib/store/state_snapshot.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/federation/memberships.h"
#include "workers/federation/queries.h"
#include "workers/federation/stripped.h"
#include "workers/federation/template.h"

bool take_membership(struct call *call, const struct room_facts *room, const char *membership, struct checked_pdu *pdu,
                     struct reply *answer)
{
    *pdu = (struct checked_pdu){.version = room_version_find(room->room_version), .text = call->json->span};
    struct event *event = NULL;
    const char *why = NULL;
    enum fault fault = event_parse(call->arena, pdu->version, pdu->text, &event, &why);
    if (fault)
        *answer = call_fail(call, fault, why);
    else if (!event_is(event, "m.room.member") || !event_is_state(event))
        *answer = call_fail(call, FAULT_INVALID_PARAM, "This is not a membership event");
    else if (!slice_eq(json_get_string(event->content, "membership"), slice_from_cstr(membership)))
        *answer = call_fail(call, FAULT_INVALID_PARAM, "The event has another membership");
    else if (!slice_eq(event->sender, event->state_key))
        *answer = call_fail(call, FAULT_INVALID_PARAM, "sender and state_key differ");
    else if (!slice_eq(id_server_name(event->sender), call->origin))
        *answer = call_fail(call, FAULT_INVALID_PARAM, "The sender is not of your server");
    else if (!slice_eq(event->room_id, room->room_id))
        *answer = call_fail(call, FAULT_INVALID_PARAM, "The event is of another room");
    else if (!slice_eq(event->event_id, call_param(call, "eventId")) && pdu->version->event_id_format != EVENT_ID_V1)
        *answer = call_fail(call, FAULT_INVALID_PARAM, "The event has another id");
    else
        return true;
    return false;
}

/* Restricted joins name one of our users as voucher: then our signature is needed too, and given only when the join is granted now.
 */
static bool vouch(struct call *call, const struct room_facts *room, struct checked_pdu *pdu, struct event *event,
                  struct reply *answer)
{
    struct slice voucher = json_get_string(event->content, "join_authorised_via_users_server");
    struct restricted_join verdict;
    if (slice_is_absent(voucher) || !slice_eq(id_server_name(voucher), server_name()))
        return true;
    enum fault fault = restricted_join_authorise(call, room, event->state_key, &verdict);
    if (fault || verdict.fault) {
        *answer = call_fail(call, fault ? fault : verdict.fault, NULL);
        return false;
    }
    if ((fault = event_sign(call, event))) {
        *answer = call_fail(call, fault, NULL);
        return false;
    }
    pdu->text = event->raw;
    return true;
}

bool accept_membership(struct call *call, const struct room_facts *room, const struct event *event, struct reply *answer)
{
    struct room_receive_request request = {
        .room_id = room->room_id, .origin = call->origin, .pdus = {&event->raw, 1}, .mode = RECEIVE_LIVE, .distribute = true};
    struct room_receive_reply reply;
    enum fault fault = call_room_receive(call, room->room_id, &request, &reply);
    if (!fault)
        fault = reply.results.len ? (enum fault)reply.results.at[0] : FAULT_INTERNAL;
    if (fault == FAULT_OK && !(reply.soft_failed.len && reply.soft_failed.at[0]))
        return true;
    if (fault == FAULT_OK) { /* stored, but it is not the user's membership: answering 200 would let his server believe so */
        *answer = call_fail(call, FAULT_FORBIDDEN, "Not allowed by the room's present state");
        return false;
    }
    struct slice why = reply.whys.len ? reply.whys.at[0] : SLICE("");
    *answer = fault == FAULT_REJECTED ? call_failf(call, FAULT_FORBIDDEN, "Not allowed: %.*s", PRI(why))
              : fault == FAULT_MISSING_EVENTS
                  ? call_fail(call, FAULT_INVALID_PARAM, "The event names events that are not known here")
                  : call_fail(call, fault, NULL);
    return false;
}

/* A key that cannot be had is the sender's fault: his server has just signed the request itself. */
static enum fault refusal(enum fault fault)
{
    return fault == FAULT_INVALID_SIGNATURE ? FAULT_INVALID_PARAM : fault == FAULT_PEER ? FAULT_FORBIDDEN : fault;
}

/* Checks, vouches, persists. False: *answer. */
static bool enter(struct call *call, struct room_facts *room, const char *membership, struct checked_pdu *pdu, struct reply *answer)
{
    if (!room_open(call, NEED_RESIDENT, room, answer) || !take_membership(call, room, membership, pdu, answer))
        return false;
    struct event *event = NULL;
    event_parse(call->arena, pdu->version, pdu->text, &event, NULL);
    if (!vouch(call, room, pdu, event, answer))
        return false;
    enum fault fault = pdus_check(call, pdu, 1);
    if (fault || pdu->fault) {
        *answer = fault ? call_fail(call, fault, NULL) : call_fail(call, refusal(pdu->fault), pdu->why);
        return false;
    }
    return accept_membership(call, room, pdu->event, answer);
}

static void put_pdus(struct call *call, struct json_writer *w, const struct room_facts *room, const char *name,
                     struct db_result *result)
{
    struct state_with_chain_row row;
    json_put_array(w, name);
    while (state_with_chain_next(result, &row))
        json_add_raw(w, event_for_servers(call->arena, room->room_version, row.json, row.is_redacted));
    json_end_array(w);
}

/* State before the join, and the auth chains of all of it. */
static enum fault join_body(struct call *call, const struct room_facts *room, const struct event *event, struct json_writer *w)
{
    struct event_row row;
    struct slices servers;
    struct state_map state;
    enum fault fault = event_row_by_id(call, event->event_id, &row);
    if (fault || (fault = state_snapshot_load(call, row.snapshot_nid, &state)) ||
        (fault = room_servers(call, room->room_nid, &servers)))
        return fault;
    int64_t *nids = arena_new_array(call->arena, state.count + row.auth_nids.len, int64_t);
    for (size_t i = 0; i < state.count; i++)
        nids[i] = state.pairs[i].event;
    for (size_t i = 0; i < row.auth_nids.len; i++)
        nids[state.count + i] = row.auth_nids.at[i];
    struct db_batch *batch = call_batch(call);
    struct db_result *events = q_state_with_chain(batch, (struct i64s){nids, state.count}, false);
    struct db_result *chain = q_state_with_chain(batch, (struct i64s){nids, state.count + row.auth_nids.len}, true);
    if ((fault = db_run(batch)))
        return fault;
    json_begin_object(w);
    json_put_string(w, "origin", server_name());
    json_put_bool(w, "members_omitted", false);
    json_put_raw(w, "event", event->raw);
    put_pdus(call, w, room, "state", events);
    put_pdus(call, w, room, "auth_chain", chain);
    json_put_array(w, "servers_in_room");
    for (size_t i = 0; i < servers.len; i++)
        json_add_string(w, servers.at[i]);
    json_end_array(w);
    json_end_object(w);
    return FAULT_OK;
}

static struct reply send_join_as(struct call *call, bool version_1)
{
    struct room_facts room;
    struct checked_pdu pdu;
    struct reply answer;
    if (!enter(call, &room, "join", &pdu, &answer))
        return answer;
    struct json_writer w = json_writer_in(call->arena);
    if (version_1) {
        json_begin_array(&w);
        json_add_i64(&w, 200);
    }
    enum fault fault = join_body(call, &room, pdu.event, &w);
    if (fault)
        return call_fail(call, fault, NULL);
    if (version_1)
        json_end_array(&w);
    return reply_json(&w);
}

struct reply send_join(struct call *call)
{
    return send_join_as(call, false);
}

struct reply send_join_v1(struct call *call)
{
    return send_join_as(call, true);
}

struct reply send_leave(struct call *call)
{
    struct room_facts room;
    struct checked_pdu pdu;
    struct reply answer;
    return enter(call, &room, "leave", &pdu, &answer) ? reply_empty() : answer;
}

struct reply send_leave_v1(struct call *call)
{
    struct reply answer = send_leave(call);
    return answer.status == 200 ? reply_raw_json(SLICE("[200,{}]")) : answer;
}

struct reply send_knock(struct call *call)
{
    struct room_facts room;
    struct checked_pdu pdu;
    struct reply answer;
    struct slice stripped;
    if (!enter(call, &room, "knock", &pdu, &answer))
        return answer;
    enum fault fault = stripped_state(call, &room, &stripped);
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_raw(&w, "knock_room_state", stripped);
    json_end_object(&w);
    return reply_json(&w);
}
