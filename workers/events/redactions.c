/* Redactions that take effect with a write batch; see redactions.h. */
#include "workers/events/redactions.h"

#include "lib/matrix/ids.h"
#include "lib/store/event_row.h"
#include "workers/events/queries.h"

enum { NOT_EFFECTIVE = EVENT_REJECTED | EVENT_SOFT_FAILED | EVENT_OUTLIER };

enum fault redaction_has_power(struct call *call, struct hot_room *room, struct slice redactor, bool *has)
{
    const struct state_need needs[2] = {{"m.room.power_levels", SLICE("")}, {"m.room.create", SLICE("")}};
    struct event *events[2];
    *has = false;
    enum fault fault = room_state_needed(call, room, room->state->map, needs, 2, events, NULL);
    if (fault || !events[1])
        return fault;
    const struct event *known[2] = {events[0], events[1]};
    struct event_list_view list = event_list_view(known + (known[0] ? 0 : 1), known[0] ? 2 : 1);
    struct power_levels levels = power_levels_from(&list.view, room->version);
    *has = power_of_user(&levels, redactor) >= power_to(&levels, "redact");
    return FAULT_OK;
}

/* The power levels are those of the current state: a redaction that came late is judged as one that comes now. */
static enum fault may_redact(struct room_write *write, struct slice redactor, struct slice author, bool *may)
{
    *may = slice_eq(id_server_name(redactor), id_server_name(author));
    return *may ? FAULT_OK : redaction_has_power(write->call, write->room, redactor, may);
}

static void add_effect(struct room_write *write, struct slice target_id, int64_t redaction_nid)
{
    write->effects[write->effect_count++] = (struct redaction_effect){target_id, redaction_nid};
}

/* New redactions of events that are stored, or come in this very batch. */
static enum fault effects_of_new_redactions(struct room_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        const struct pending_event *pending = &write->events[i];
        if (!event_is(pending->event, "m.room.redaction") || slice_is_absent(pending->event->redacts) ||
            pending->flags & NOT_EFFECTIVE)
            continue;
        struct db_batch *batch = call_batch(write->call);
        struct db_result *result = q_redaction_target(batch, pending->event->redacts, write->room->room_nid);
        enum fault fault = db_run(batch);
        struct redaction_target_row row = {0};
        if (fault)
            return fault;
        bool may = false, known = redaction_target_next(result, &row);
        for (size_t k = 0; k < write->count && !known; k++) {
            known = slice_eq(write->events[k].event->event_id, pending->event->redacts);
            row.sender = write->events[k].event->sender;
        }
        if (known && (fault = may_redact(write, pending->event->sender, row.sender, &may)))
            return fault;
        if (may)
            add_effect(write, pending->event->redacts, pending->nid);
    }
    return FAULT_OK;
}

/* New events that an earlier redaction waits for: only others' events come late. */
static enum fault effects_of_waiting_redactions(struct room_write *write)
{
    struct slice *ids = arena_new_array(write->call->arena, write->count, struct slice);
    size_t count = 0;
    for (size_t i = 0; i < write->count; i++)
        if (!(write->events[i].flags & EVENT_LOCAL))
            ids[count++] = write->events[i].event->event_id;
    if (count == 0)
        return FAULT_OK;
    struct db_batch *batch = call_batch(write->call);
    struct db_result *result = q_redactions_waiting(batch, (struct slices){ids, count}, write->room->room_nid);
    enum fault fault = db_run(batch);
    struct redactions_waiting_row row;
    while (!fault && redactions_waiting_next(result, &row)) {
        for (size_t i = 0; i < write->count; i++) {
            bool may = false;
            if (!slice_eq(write->events[i].event->event_id, row.redacts))
                continue;
            if ((fault = may_redact(write, row.sender, write->events[i].event->sender, &may)))
                return fault;
            if (may && write->effect_count < write->count * 2)
                add_effect(write, row.redacts, row.event_nid);
        }
    }
    return fault;
}

enum fault redactions_prepare(struct room_write *write)
{
    write->effects = arena_new_array(write->call->arena, write->count * 2, struct redaction_effect);
    write->effect_count = 0;
    enum fault fault = effects_of_new_redactions(write);
    return fault ? fault : effects_of_waiting_redactions(write);
}

void redactions_add(struct db_batch *batch, const struct room_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        const struct event *event = write->events[i].event;
        if (event_is(event, "m.room.redaction") && !slice_is_absent(event->redacts))
            q_redaction_remember(batch, event->redacts, write->events[i].nid, write->room->room_nid);
    }
    for (size_t i = 0; i < write->effect_count; i++)
        q_redaction_apply(batch, write->effects[i].target_id, write->room->room_nid, write->effects[i].redaction_nid);
}
