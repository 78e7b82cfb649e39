/* Joining restricted rooms; see restricted_join.h. */
#include "lib/store/restricted_join.h"

#include "lib/matrix/auth_rules.h"
#include "lib/matrix/ids.h"

/* *unsure: an allowed room has no members of ours, so that nothing can be said about its membership. */
static enum fault is_member_of_allowed(struct call *call, const struct json *join_rules, struct slice user_id, bool *met,
                                       bool *unsure)
{
    *met = *unsure = false;
    json_each (condition, json_get_array(join_rules, "allow")) {
        struct slice allowed = json_get_string(condition, "room_id");
        struct room_facts room;
        struct membership_row membership;
        if (!slice_eq(json_get_string(condition, "type"), SLICE("m.room_membership")) || slice_is_absent(allowed))
            continue;
        enum fault fault = room_find(call, allowed, &room);
        if (fault && fault != FAULT_NOT_FOUND)
            return fault;
        bool known = !fault && server_is_joined(call, room.room_nid, server_name(), &fault);
        if (fault && fault != FAULT_NOT_FOUND)
            return fault;
        *unsure |= !known;
        if (!known)
            continue;
        fault = membership_find(call, room.room_nid, user_id, &membership);
        if (fault && fault != FAULT_NOT_FOUND)
            return fault;
        if (!fault && slice_eq(membership.membership, SLICE("join"))) {
            *met = true;
            return FAULT_OK;
        }
    }
    return FAULT_OK;
}

/* A joined user of ours with the power to invite; absent when there is none. */
static enum fault find_voucher(struct call *call, const struct room_facts *room, struct slice *voucher)
{
    *voucher = SLICE_ABSENT;
    struct event_rows state;
    enum fault fault = current_state_events(call, room->room_nid, &state);
    if (fault)
        return fault;
    const struct event **events = arena_new_array(call->arena, state.count, const struct event *);
    for (size_t i = 0; i < state.count; i++)
        events[i] = event_row_parse(call->arena, &state.at[i]);
    struct event_list_view list = event_list_view(events, state.count);
    struct power_levels levels = power_levels_from(&list.view, room_version_find(room->room_version));
    int64_t needed = power_to(&levels, "invite");
    for (size_t i = 0; i < state.count && slice_is_absent(*voucher); i++)
        if (event_is(events[i], "m.room.member") && slice_eq(json_get_string(events[i]->content, "membership"), SLICE("join")) &&
            slice_eq(id_server_name(events[i]->state_key), server_name()) && power_of_user(&levels, events[i]->state_key) >= needed)
            *voucher = events[i]->state_key;
    return FAULT_OK;
}

enum fault restricted_join_authorise(struct call *call, const struct room_facts *room, struct slice user_id,
                                     struct restricted_join *out)
{
    *out = (struct restricted_join){0};
    struct event_row row;
    struct membership_row membership;
    enum fault fault = membership_find(call, room->room_nid, user_id, &membership);
    if (fault && fault != FAULT_NOT_FOUND)
        return fault;
    if (!fault && (slice_eq(membership.membership, SLICE("invite")) || slice_eq(membership.membership, SLICE("join"))))
        return FAULT_OK;
    fault = current_state_event(call, room->room_nid, "m.room.join_rules", SLICE(""), &row);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    const struct event *event = event_row_parse(call->arena, &row);
    struct slice rule = json_get_string(event->content, "join_rule");
    out->restricted = (event->version->restricted_join && slice_eq(rule, SLICE("restricted"))) ||
                      (event->version->knock_restricted && slice_eq(rule, SLICE("knock_restricted")));
    if (!out->restricted)
        return FAULT_OK;
    bool met, unsure;
    if ((fault = is_member_of_allowed(call, event->content, user_id, &met, &unsure)))
        return fault;
    if (!met) {
        out->fault = unsure ? FAULT_UNABLE_TO_AUTHORISE_JOIN : FAULT_FORBIDDEN;
        return FAULT_OK;
    }
    if ((fault = find_voucher(call, room, &out->voucher)))
        return fault;
    out->fault = slice_is_absent(out->voucher) ? FAULT_UNABLE_TO_GRANT_JOIN : FAULT_OK;
    return FAULT_OK;
}
