/* Asking the room's policy server; see policy.h. Rooms without one cost a look into the state that is in memory. */
#include "workers/events/policy.h"

#include "lib/store/policy.h"
#include "workers/events/state_keys.h"

static enum fault find_policy(struct call *call, struct hot_room *room, struct room_policy *out)
{
    const struct slice type = SLICE("m.room.policy"), state_key = SLICE("");
    struct event *event;
    struct slices servers;
    int64_t key, nid;
    *out = (struct room_policy){.via = SLICE_ABSENT};
    enum fault fault = state_keys_intern(call, &type, &state_key, 1, &key); /* interned, so that it is found in memory next time */
    if (fault || (nid = state_map_get(room->state->map, key)) == 0 || (fault = hot_room_events(call, room, &nid, 1, &event)))
        return fault;
    struct room_policy policy = room_policy_read(call->arena, event->content);
    if (slice_is_absent(policy.via) || (fault = hot_room_servers(call, room, &servers)))
        return fault;
    for (size_t i = 0; i < servers.len; i++)
        if (slice_eq(servers.at[i], policy.via))
            *out = policy;
    return FAULT_OK;
}

enum fault policy_sign(struct call *call, struct hot_room *room, struct event **events, size_t count, const char **why)
{
    struct room_policy policy;
    enum fault fault = find_policy(call, room, &policy);
    if (fault || slice_is_absent(policy.via))
        return fault;
    for (size_t i = 0; i < count; i++) {
        if (!(fault = room_policy_check(call, &policy, events[i])))
            continue;
        *why = arena_cstr(call->arena, call->why);
        return fault;
    }
    return FAULT_OK;
}
