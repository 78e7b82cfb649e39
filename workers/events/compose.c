/* Drafts to events; see compose.h. */
#include "workers/events/compose.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/matrix/ids.h"
#include "lib/store/event_row.h"
#include "proto/stubs.h"
#include "workers/events/nids.h"
#include "workers/events/policy.h"
#include "workers/events/state_keys.h"

/* The state events a draft is judged by. Those composed earlier in the same write are not stored yet. */
static enum fault needed_state(struct room_write *write, const struct state_need *needs, size_t count, const struct event **events,
                               int64_t *nids)
{
    struct call *call = write->call;
    struct slice types[STATE_NEEDS_MAX] = {0}, keys[STATE_NEEDS_MAX] = {0};
    int64_t key_nids[STATE_NEEDS_MAX], stored[STATE_NEEDS_MAX];
    for (size_t i = 0; i < count; i++) {
        types[i] = slice_from_cstr(needs[i].type);
        keys[i] = needs[i].state_key;
        events[i] = NULL;
    }
    enum fault fault = state_keys_find(call, types, keys, count, key_nids);
    if (fault)
        return fault;
    for (size_t i = 0; i < count; i++) {
        stored[i] = nids[i] = state_map_get(write->state.map, key_nids[i]);
        for (size_t k = 0; k < write->count && nids[i]; k++) {
            if (write->events[k].nid != nids[i])
                continue;
            events[i] = write->events[k].event;
            stored[i] = 0;
        }
    }
    struct event *loaded[STATE_NEEDS_MAX];
    if ((fault = hot_room_events(call, write->room, stored, count, loaded)))
        return fault;
    for (size_t i = 0; i < count; i++)
        if (loaded[i])
            events[i] = loaded[i];
    return FAULT_OK;
}

struct composed {
    struct event *event; /* not signed */
    struct i64s auth_nids;
};

static bool text_is_storable(const struct event_draft *draft)
{
    return !slice_has_nul(draft->type) && !slice_has_nul(draft->state_key) && !slice_has_nul(draft->sender) &&
           !slice_has_nul(draft->redacts);
}

static enum fault compose_draft(struct room_write *write, const struct event_draft *draft, bool authorise, struct composed *out,
                                const char **why)
{
    struct arena *arena = write->call->arena;
    const struct room_version *version = write->room->version;
    const struct json *content = json_parse(arena, draft->content, version->strict_canonical_json ? JSON_CANONICAL : JSON_LAX, why);
    if (!json_is(content, JSON_OBJECT) || !text_is_storable(draft))
        return FAULT_BAD_JSON;
    if (draft->type.len > MATRIX_ID_BYTES_MAX ||
        draft->state_key.len > MATRIX_ID_BYTES_MAX) { /* ours, whatever the version lets through */
        *why = "type or state_key is longer than 255 bytes";
        return FAULT_TOO_LARGE;
    }
    struct state_need needs[STATE_NEEDS_MAX];
    size_t need_count = auth_needs_of_draft(version, draft->type, draft->state_key, draft->sender, content, needs);
    const struct event *state[STATE_NEEDS_MAX];
    int64_t nids[STATE_NEEDS_MAX];
    enum fault fault = needed_state(write, needs, need_count, state, nids);
    if (fault)
        return fault;

    struct slice *auth_ids = arena_new_array(arena, need_count, struct slice);
    int64_t *auth_nids = arena_new_array(arena, need_count, int64_t);
    const struct event **view_events = arena_new_array(arena, need_count + 1, const struct event *);
    size_t auth_count = 0, view_count = 0;
    bool has_create = false;
    for (size_t i = 0; i < need_count; i++) {
        if (!state[i])
            continue;
        view_events[view_count++] = state[i];
        bool is_create = event_is(state[i], "m.room.create");
        has_create |= is_create;
        if (is_create && version->room_id_is_create_hash)
            continue; /* version 12: implied by the room id */
        auth_ids[auth_count] = state[i]->event_id;
        auth_nids[auth_count++] = nids[i];
    }
    if (!has_create && version->room_id_is_create_hash) { /* judged by, though not named */
        const struct state_need create = {"m.room.create", SLICE("")};
        const struct event *event;
        int64_t nid;
        if ((fault = needed_state(write, &create, 1, &event, &nid)))
            return fault;
        if (event)
            view_events[view_count++] = event;
    }

    bool is_create = slice_eq(draft->type, SLICE("m.room.create"));
    size_t head_count = write->head_count < PREV_EVENTS_MAX ? write->head_count : PREV_EVENTS_MAX;
    struct slice room_id = is_create && version->room_id_is_create_hash ? SLICE_ABSENT : write->room->room_id;
    int64_t depth = write->depth < JSON_INT_MAX ? write->depth + 1 : JSON_INT_MAX;
    struct event_draft stamped = *draft;
    if (stamped.origin_server_ts == 0)
        stamped.origin_server_ts = clock_wall_ms();
    struct slice built = event_build(arena, version, &stamped, room_id, depth, (struct slices){write->head_ids, head_count},
                                     (struct slices){auth_ids, auth_count});
    if ((fault = event_parse(arena, version, built, &out->event, why)))
        return fault;
    out->auth_nids = (struct i64s){auth_nids, auth_count};
    if (!authorise)
        return FAULT_OK;
    struct event_list_view view = event_list_view(view_events, view_count);
    return auth_check_state(arena, out->event, &view.view, why);
}

/* All events in one trip to the signer; signatures are outside of the reference hash, so ids and chains stand already. */
enum fault compose_sign(struct call *call, const struct room_version *version, struct event **events, size_t count)
{
    struct slice *payloads = arena_new_array(call->arena, count, struct slice);
    for (size_t i = 0; i < count; i++)
        payloads[i] = event_signing_bytes(call->arena, version, events[i]->json);
    struct sign_request request = {.payloads = {payloads, count}};
    struct sign_reply reply;
    enum fault fault = call_sign(call, SLICE_ABSENT, &request, &reply);
    if (fault)
        return fault;
    ensure(reply.signatures.len == count);
    for (size_t i = 0; i < count; i++)
        events[i]->raw = event_add_signature(call->arena, events[i]->raw, server_name(), reply.key_id, reply.signatures.at[i]);
    return FAULT_OK;
}

/* Servers besides the room's that must hear of it: the target's of a membership change. */
static struct slices own_destinations(struct arena *arena, const struct event *event)
{
    struct slice server =
        event_is(event, "m.room.member") && event_is_state(event) ? id_server_name(event->state_key) : SLICE_ABSENT;
    if (slice_is_absent(server) || slice_eq(server, server_name()))
        return (struct slices){NULL, 0};
    struct slice *one = arena_new(arena, struct slice);
    *one = server;
    return (struct slices){one, 1};
}

enum fault compose(struct room_write *write, const struct event_draft *drafts, size_t count, const char **why, size_t *failed)
{
    struct call *call = write->call;
    struct event **events = arena_new_array(call->arena, count, struct event *);
    size_t first = write->count;
    for (size_t i = 0; i < count; i++) {
        struct composed composed;
        *failed = i;
        enum fault fault = compose_draft(write, &drafts[i], true, &composed, why);
        if (fault)
            return fault;
        struct pending_event pending = {.event = composed.event,
                                        .flags = EVENT_LOCAL,
                                        .auth_nids = composed.auth_nids,
                                        .destinations = own_destinations(call->arena, composed.event)};
        if (event_is_state(composed.event) &&
            (fault = state_keys_intern(call, &composed.event->type, &composed.event->state_key, 1, &pending.state_key_nid)))
            return fault;
        if ((fault = room_write_append(write, pending)))
            return fault;
        events[i] = write->events[first + i].event;
    }
    enum fault fault = compose_sign(call, write->room->version, events, count);
    return fault || write->is_new_room ? fault : policy_sign(call, write->room, events, count, why);
}

enum fault compose_one(struct call *call, struct hot_room *room, const struct event_draft *draft, bool template_only,
                       bool authorise, struct slice *json, struct slice *event_id, const char **why)
{
    struct room_write write;
    struct composed composed;
    room_write_begin(&write, call, room, 1);
    enum fault fault = compose_draft(&write, draft, !template_only || authorise, &composed, why);
    if (fault)
        return fault;
    if (template_only) { /* hashes are the other server's to make */
        struct json_writer w = json_writer_in(call->arena);
        json_begin_object(&w);
        json_each (member, composed.event->json) {
            if (slice_eq(member->key, SLICE("hashes")) || slice_eq(member->key, SLICE("signatures")))
                continue;
            json_key(&w, member->key);
            json_add_value(&w, member);
        }
        json_end_object(&w);
        *json = json_done(&w);
        *event_id = SLICE_ABSENT;
        return FAULT_OK;
    }
    if ((fault = compose_sign(call, room->version, &composed.event, 1)) ||
        (fault = policy_sign(call, room, &composed.event, 1, why)))
        return fault;
    *json = composed.event->raw;
    *event_id = composed.event->event_id;
    return FAULT_OK;
}
