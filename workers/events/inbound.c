/* Looking at a PDU before it is let in; see inbound.h. */
#include "workers/events/inbound.h"

#include "lib/base/ensure.h"
#include "lib/store/event_row.h"
#include "workers/events/queries.h"

enum fault inbound_parse(struct call *call, const struct room_version *version, struct slice room_id, struct slice pdu,
                         struct inbound *out, const char **why)
{
    *out = (struct inbound){0};
    enum fault fault = event_parse(call->arena, version, pdu, &out->event, why);
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

/* Version 12's create event has the id of the room it made, others name theirs; so no event can be in two rooms. But a PDU may name
 * what it likes, and an event that we know from elsewhere must not lend its state or its powers to this room (rule "If any event in
 * auth_events has a room_id which does not match that of the event being authorised, reject"). Such a PDU is not even stored. */
static enum fault refuse_foreign(const struct inbound *inbound, const char **why)
{
    const struct event *event = inbound->event;
    *why = "names events of another room";
    for (size_t i = 0; i < event->prev_events.len; i++)
        if (inbound->prev[i].is_foreign)
            return FAULT_FORBIDDEN;
    for (size_t i = 0; i < event->auth_events.len; i++)
        if (inbound->auth[i].is_foreign)
            return FAULT_FORBIDDEN;
    *why = inbound->self.is_foreign ? "the event id is another room's" : NULL; /* versions 1 and 2 choose theirs */
    return inbound->self.is_foreign ? FAULT_FORBIDDEN : FAULT_OK;
}

bool known_event_has_state(const struct known_event *known)
{
    return known->nid && !(known->flags & EVENT_OUTLIER) && (known->snapshot_nid || known->is_create);
}

/* Where ids are chosen and not computed, one id may come with two contents. What is stored stays. */
static enum fault refuse_other_content(struct call *call, const struct inbound *inbound, const char **why)
{
    struct event_row row;
    if (inbound->event->version->event_id_format != EVENT_ID_V1 || !inbound->self.nid)
        return FAULT_OK;
    enum fault fault = event_row_by_id(call, inbound->event->event_id, &row);
    if (fault || slice_eq(row.json, inbound->event->raw))
        return fault;
    struct event *stored;
    if ((fault = event_parse(call->arena, inbound->event->version, row.json, &stored, why)))
        return fault;
    *why = "another event has this id";
    bool is_same = slice_eq(event_reference_hash(call->arena, stored->version, stored->json),
                            event_reference_hash(call->arena, stored->version, inbound->event->json)); /* more signatures: fine */
    return is_same ? FAULT_OK : FAULT_FORBIDDEN;
}

enum fault inbound_lookup(struct call *call, const struct hot_room *room, struct inbound *inbound, const char **why)
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
    struct db_result *result = q_event_nids_of(batch, (struct slices){ids, total}, room->room_nid);
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
                                                row.is_create,
                                                !row.is_here};
    }
    if (fault)
        return fault;
    inbound->self = known[0];
    inbound->prev = known + 1;
    inbound->auth = known + 1 + prev_count;
    struct slice *missing = arena_new_array(call->arena, total, struct slice);
    struct slice *missing_prev = arena_new_array(call->arena, total, struct slice);
    struct slice *absent_prev = arena_new_array(call->arena, total, struct slice);
    size_t missing_count = 0, missing_prev_count = 0, absent_prev_count = 0;
    for (size_t i = 0; i < prev_count; i++) {
        if (inbound->prev[i].nid == 0 || inbound->prev[i].flags & EVENT_OUTLIER)
            absent_prev[absent_prev_count++] = inbound->prev[i].event_id;
        if (!known_event_has_state(&inbound->prev[i]))
            missing[missing_count++] = missing_prev[missing_prev_count++] = inbound->prev[i].event_id;
    }
    for (size_t i = 0; i < auth_count; i++)
        if (inbound->auth[i].nid == 0)
            missing[missing_count++] = inbound->auth[i].event_id;
    inbound->missing = (struct slices){missing, missing_count};
    inbound->missing_prev = (struct slices){missing_prev, missing_prev_count};
    inbound->absent_prev = (struct slices){absent_prev, absent_prev_count};
    return (fault = refuse_foreign(inbound, why)) ? fault : refuse_other_content(call, inbound, why);
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
