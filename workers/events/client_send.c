/* Plain sends by clients, straight to the writer: PUT …/send, …/state and …/redact (Client-Server API "Sending events to a room",
 * "Redactions"). */
#include "lib/base/clock.h"
#include "lib/matrix/ids.h"
#include "lib/store/event_row.h"
#include "lib/store/room_read.h"
#include "proto/dispatch.h"
#include "workers/events/append.h"
#include "workers/events/redactions.h"

/* The wording of lib/matrix/auth_rules_power_levels.c. */
#define CREATOR_IN_POWER_LEVELS "m.room.power_levels: users names a creator of the room"

static struct reply event_id_reply(struct call *call, struct slice event_id)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "event_id", event_id);
    json_end_object(&w);
    return reply_json(&w);
}

/* An unknown room is forbidden rather than not found: a client must not learn which rooms exist. */
static struct reply append_reply(struct call *call, enum fault fault, const struct appended *appended)
{
    if (fault == FAULT_OK)
        return event_id_reply(call, appended->event_ids[0]);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    /* What no power could make right is a bad request; the rest is forbidden. */
    if (fault == FAULT_REJECTED && appended->why && strcmp(appended->why, CREATOR_IN_POWER_LEVELS) == 0)
        return call_fail(call, FAULT_BAD_JSON, appended->why);
    if (fault == FAULT_REJECTED)
        return call_failf(call, FAULT_FORBIDDEN, "Not allowed: %s", appended->why ? appended->why : "by the room's rules");
    return call_fail(call, fault, appended->why);
}

/* The rules let the users of one server redact each other's events: keeping ours from it is our part. */
static enum fault check_redaction(struct call *call, struct slice room_id, const struct event_draft *draft)
{
    struct event_row row;
    struct hot_room *room;
    bool has_power = false;
    if (slice_is_absent(draft->redacts))
        return FAULT_OK;
    enum fault fault = event_row_by_id(call, draft->redacts, &row);
    if (fault == FAULT_NOT_FOUND || (!fault && (!slice_eq(row.room_id, room_id) || slice_eq(row.sender, call->requester.user_id))))
        return FAULT_OK;
    if (fault || (fault = hot_room_get(call, room_id, &room)) ||
        (fault = redaction_has_power(call, room, call->requester.user_id, &has_power)))
        return fault;
    return has_power ? FAULT_OK : FAULT_FORBIDDEN;
}

/* A redaction's path names its target, a send's its type. */
static struct slice txn_scope(struct call *call, const struct event_draft *draft)
{
    struct slice target = call_param(call, "eventId");
    return slice_is_absent(target) ? arena_printf(call->arena, "send %.*s", PRI(draft->type))
                                   : arena_printf(call->arena, "redact %.*s", PRI(target));
}

static struct reply append_one(struct call *call, struct event_draft draft, struct slice txn_id, bool is_state)
{
    int64_t timestamp = 0;
    draft.sender = call->requester.user_id;
    if (!slice_is_absent(call->requester.appservice_id) && !call_query_i64(call, "ts", &timestamp))
        return call_fail(call, FAULT_INVALID_PARAM, "ts must be a number");
    draft.origin_server_ts = timestamp;
    if (slice_eq(draft.type, SLICE("m.room.redaction")) && slice_is_absent(draft.redacts))
        draft.redacts = json_get_string(call->json, "redacts"); /* by …/send or …/state; compose puts it where the version has it */
    enum fault fault = check_redaction(call, call_param(call, "roomId"), &draft);
    if (fault)
        return call_fail(call, fault, fault == FAULT_FORBIDDEN ? "You may redact your own events only" : NULL);
    struct append append = {.room_id = call_param(call, "roomId"),
                            .drafts = &draft,
                            .count = 1,
                            .txn = {draft.sender,
                                    slice_is_absent(call->requester.device_id) ? SLICE("") : call->requester.device_id,
                                    txn_scope(call, &draft), txn_id},
                            .skip_unchanged_state = is_state};
    struct appended appended;
    fault = room_append_drafts(call, &append, &appended);
    return append_reply(call, fault, &appended);
}

struct reply send_message(struct call *call)
{
    return append_one(call, (struct event_draft){.type = call_param(call, "eventType"), .content = call->json->span},
                      call_param(call, "txnId"), false);
}

/* What the rules of rooms leave open and the API does not. */
static enum fault check_state(struct call *call, struct slice type, struct slice state_key)
{
    if (slice_eq(type, SLICE("m.room.create"))) /* a room has one, and it is there */
        return FAULT_BAD_JSON;
    if (slice_eq(type, SLICE("m.room.member")) && !user_id_is_valid(state_key))
        return FAULT_BAD_JSON;
    /* These have rows of their own, in `rooms`: a frontend that sends them here is of an older version. */
    if (slice_eq(type, SLICE("m.room.member")) || (slice_eq(type, SLICE("m.room.canonical_alias")) && state_key.len == 0))
        return FAULT_UNAVAILABLE;
    return FAULT_OK;
}

struct reply send_state(struct call *call)
{
    struct slice state_key = call_param(call, "stateKey"), type = call_param(call, "eventType");
    if (slice_is_absent(state_key))
        state_key = SLICE("");
    enum fault fault = check_state(call, type, state_key);
    if (fault)
        return call_fail(call, fault, NULL);
    return append_one(call, (struct event_draft){.type = type, .state_key = state_key, .content = call->json->span}, SLICE_ABSENT,
                      true);
}

/* The target need not be known here: redactions may come before what they redact. Whether it takes effect is decided when it is
 * persisted (redactions.h). */
struct reply redact_event(struct call *call)
{
    struct slice target = call_param(call, "eventId");
    const struct json *reason = json_get_cstr(call->json, "reason");
    struct room_facts room;
    if (reason && !json_is(reason, JSON_STRING))
        return call_fail(call, FAULT_BAD_JSON, "reason must be a string");
    if (!event_id_is_valid(target))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not an event id");
    enum fault fault = room_find(call, call_param(call, "roomId"), &room);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, FAULT_FORBIDDEN, "You are not in this room");
    if (fault)
        return call_fail(call, fault, NULL);
    const struct room_version *version = room_version_find(room.room_version);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    if (reason)
        json_put_string(&w, "reason", reason->text);
    if (version && version->redacts_in_content)
        json_put_string(&w, "redacts", target);
    json_end_object(&w);
    return append_one(call, (struct event_draft){.type = SLICE("m.room.redaction"), .content = json_done(&w), .redacts = target},
                      call_param(call, "txnId"), false);
}
