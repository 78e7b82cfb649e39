/* Looking at a PDU before it is let in; see inbound.h. */
#include "workers/events/inbound.h"

#include "lib/base/ensure.h"
#include "lib/store/event_row.h"
#include "workers/events/queries.h"

enum fault inbound_parse(struct call *call, const struct room_version *version, struct slice room_id, struct slice pdu,
                         struct inbound *out, const char **why)
{
    *out = (struct inbound){0};
    /* Limits that do not hold for history were checked where the event came in (federation/pdu_check.c). */
    enum fault fault = event_parse_history(call->arena, version, pdu, &out->event, why);
    if (fault)
        return fault;
    const struct event *event = out->event;
    if (slice_has_nul(event->type) || slice_has_nul(event->state_key) || slice_has_nul(event->sender) ||
        slice_has_nul(event->redacts)) {
        *why = "NUL in an identifier";
        return FAULT_BAD_JSON;
    }
    if (!slice_eq(event->room_id, room_id)) {
        *why = "event of another room";
        return FAULT_BAD_JSON;
    }
    return FAULT_OK;
}

enum fault inbound_lookup(struct call *call, struct inbound *inbound)
{
    const struct event *event = inbound->event;
    size_t prev_count = event->prev_events.len, auth_count = event->auth_events.len, total = 1 + prev_count + auth_count;
    struct slice *ids = arena_new_array(call->arena, total, struct slice);
    struct known_event *known = arena_new_array(call->arena, total, struct known_event);
    ids[0] = event->event_id;
    for (size_t i = 0; i < prev_count; i++)
        ids[1 + i] = event->prev_events.at[i];
    for (size_t i = 0; i < auth_count; i++)
        ids[1 + prev_count + i] = event->auth_events.at[i];
    for (size_t i = 0; i < total; i++)
        known[i].event_id = ids[i];
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_event_nids_of(batch, (struct slices){ids, total});
    enum fault fault = db_run(batch);
    struct event_nids_of_row row;
    while (!fault && event_nids_of_next(result, &row)) {
        for (size_t i = 0; i < total; i++)
            if (slice_eq(ids[i], row.event_id))
                known[i] = (struct known_event){ids[i],
                                                row.event_nid,
                                                row.flags,
                                                row.snapshot_nid,
                                                row.state_key_nid == DB_NULL_I64 ? 0 : row.state_key_nid,
                                                row.is_create};
    }
    inbound->self = known[0];
    inbound->prev = known + 1;
    inbound->auth = known + 1 + prev_count;
    struct slice *missing = arena_new_array(call->arena, total, struct slice);
    struct slice *missing_prev = arena_new_array(call->arena, total, struct slice);
    size_t missing_count = 0, missing_prev_count = 0;
    for (size_t i = 0; i < prev_count; i++)
        if (inbound->prev[i].nid == 0 || inbound->prev[i].flags & EVENT_OUTLIER)
            missing[missing_count++] = missing_prev[missing_prev_count++] = inbound->prev[i].event_id;
    for (size_t i = 0; i < auth_count; i++)
        if (inbound->auth[i].nid == 0)
            missing[missing_count++] = inbound->auth[i].event_id;
    inbound->missing = (struct slices){missing, missing_count};
    inbound->missing_prev = (struct slices){missing_prev, missing_prev_count};
    return fault;
}

/* Version 12: the create event is implied by the room id. */
static enum fault implied_create(struct call *call, struct hot_room *room, struct event **create)
{
    const struct state_need need = {"m.room.create", SLICE("")};
    *create = NULL;
    return room->version->room_id_is_create_hash ? room_state_needed(call, room, room->state->map, &need, 1, create, NULL)
                                                 : FAULT_OK;
}

enum fault inbound_check_auth_events(struct call *call, struct hot_room *room, const struct inbound *inbound, const char **why)
{
    const struct event *event = inbound->event;
    size_t count = event->auth_events.len;
    int64_t *nids = arena_new_array(call->arena, count, int64_t);
    struct event **auth = arena_new_array(call->arena, count + 1, struct event *), *create;
    for (size_t i = 0; i < count; i++)
        nids[i] = inbound->auth[i].nid;
    enum fault fault;
    if ((fault = hot_room_events(call, room, nids, count, auth)) || (fault = implied_create(call, room, &create)))
        return fault;
    for (size_t i = 0; i < count; i++)
        auth[i]->rejected = inbound->auth[i].flags & EVENT_REJECTED;
    const struct event *const *events = (const struct event *const *)auth;
    if ((fault = auth_check_auth_events(event, events, count, create ? event->room_id : SLICE_ABSENT, why)))
        return fault;
    if (create)
        auth[count++] = create;
    struct event_list_view view = event_list_view(events, count);
    return auth_check_state(call->arena, event, &view.view, why);
}

enum fault inbound_check_state(struct room_write *write, const struct event *event, struct state_map state, const char **why)
{
    struct state_need needs[STATE_NEEDS_MAX + 1];
    size_t count = auth_needs(event, needs), found = 0;
    struct event *events[STATE_NEEDS_MAX + 1];
    bool names_create = false;
    for (size_t i = 0; i < count; i++)
        names_create |= strcmp(needs[i].type, "m.room.create") == 0;
    if (!names_create && count < STATE_NEEDS_MAX)
        needs[count++] = (struct state_need){"m.room.create", SLICE("")};
    enum fault fault = room_state_needed(write->call, write->room, state, needs, count, events, NULL);
    if (fault)
        return fault;
    for (size_t i = 0; i < count; i++)
        if (events[i])
            events[found++] = events[i];
    struct event_list_view view = event_list_view((const struct event *const *)events, found);
    return auth_check_state(write->call->arena, event, &view.view, why);
}
