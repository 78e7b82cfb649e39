/* Policy servers; see policy.h. */
#include "lib/store/policy.h"

#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/matrix/ed25519.h"
#include "lib/matrix/ids.h"
#include "lib/store/room_read.h"
#include "proto/message.h"

enum { ASK_WITHIN_MS = 10000, ANSWER_BYTES_MAX = 64 * 1024, KEY_BYTES = 32 };

#define KEY_ID SLICE("ed25519:policy_server") /* always */

struct room_policy room_policy_read(struct arena *arena, const struct json *content)
{
    struct slice via = json_get_string(content, "via"), key = json_get_string(json_get_object(content, "public_keys"), "ed25519");
    struct room_policy policy = {.via = SLICE_ABSENT};
    if (!server_name_is_valid(via) || slice_is_absent(key))
        return policy;
    policy.public_key = base64_decode(arena, key);
    policy.via = via;
    return policy;
}

enum fault room_policy_find(struct call *call, int64_t room_nid, struct room_policy *out)
{
    struct event_row row;
    *out = (struct room_policy){.via = SLICE_ABSENT};
    enum fault fault = current_state_event(call, room_nid, "m.room.policy", SLICE(""), &row);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    struct room_policy policy = room_policy_read(call->arena, event_row_parse(call->arena, &row)->content);
    if (!slice_is_absent(policy.via) && server_is_joined(call, room_nid, policy.via, &fault))
        *out = policy;
    return fault;
}

static bool is_signed(struct call *call, const struct room_policy *policy, const struct event *event, struct slice signature)
{
    return !slice_is_absent(signature) && ed25519_verify(policy->public_key, base64_decode(call->arena, signature),
                                                         event_signing_bytes(call->arena, event->version, event->json));
}

/* POST /_matrix/policy/v1/sign. The answer is the policy server's signatures alone; those of the event stay. */
static enum fault ask(struct call *call, const struct room_policy *policy, const struct event *event, struct slice *signature)
{
    const struct fetch_request request = {.destination = policy->via,
                                          .method = SLICE("POST"),
                                          .uri = SLICE("/_matrix/policy/v1/sign"),
                                          .sign = true,
                                          .timeout_ms = ASK_WITHIN_MS,
                                          .size_max = ANSWER_BYTES_MAX,
                                          .content = event->raw};
    struct fetch_reply reply = {0};
    *signature = SLICE_ABSENT;
    enum fault fault = call_bus(call, message_find(MESSAGE_fetch), event->event_id, &request, &reply);
    if (fault == FAULT_UNAVAILABLE || fault == FAULT_DEADLINE)
        return fault;
    call->why = SLICE("The room's policy server cannot be reached");
    if (fault)
        return FAULT_FORBIDDEN;
    const struct json *answer = json_parse(call->arena, reply.body, JSON_LAX, NULL);
    if (reply.status == 200) {
        *signature = json_string(json_get(json_get(answer, policy->via), KEY_ID));
        call->why = SLICE("The room's policy server gave no valid signature");
        return FAULT_OK;
    }
    struct slice error = json_get_string(answer, "error");
    call->why = slice_is_absent(error) ? SLICE("The room's policy server refused the event") : error;
    return FAULT_FORBIDDEN;
}

enum fault room_policy_check(struct call *call, const struct room_policy *policy, struct event *event)
{
    struct slice signature;
    if (slice_is_absent(policy->via) || event_is_state_of(event, "m.room.policy", SLICE("")) ||
        is_signed(call, policy, event, json_signature(event->json, policy->via, KEY_ID)))
        return FAULT_OK;
    if (slice_eq(policy->via, server_name())) {
        call->why = SLICE("This server is no policy server");
        return FAULT_FORBIDDEN;
    }
    enum fault fault = ask(call, policy, event, &signature);
    if (!fault && !is_signed(call, policy, event, signature))
        fault = FAULT_FORBIDDEN;
    if (fault) {
        log_event(LOG_INFO, "a policy server does not recommend an event", LOG_STR("event", event->event_id),
                  LOG_STR("server", policy->via), LOG_STR("why", call->why));
        return fault;
    }
    event->raw = event_add_signature(call->arena, event->raw, policy->via, KEY_ID, signature);
    event->json = json_parse(call->arena, event->raw, JSON_LAX, NULL); /* so that it is not asked for again */
    return FAULT_OK;
}
