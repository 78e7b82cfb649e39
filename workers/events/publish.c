/* Stream hints of a write batch; see publish.h. */
#include "workers/events/publish.h"

#include "lib/kit/stream.h"
#include "lib/matrix/ids.h"
#include "lib/store/event_row.h"

struct publication {
    struct slices servers;              /* joined before the batch */
    struct slice *previous_memberships; /* per event */
};

enum fault publication_prepare(struct room_write *write, struct publication **out)
{
    struct arena *arena = write->call->arena;
    struct publication *publication = arena_new(arena, struct publication);
    publication->previous_memberships = arena_new_array(arena, write->count, struct slice);
    int64_t *replaced = arena_new_array(arena, write->count, int64_t);
    struct event **events = arena_new_array(arena, write->count, struct event *);
    bool local = false;
    for (size_t i = 0; i < write->count; i++) {
        const struct pending_event *pending = &write->events[i];
        local |= pending->flags & EVENT_LOCAL;
        if (!event_is(pending->event, "m.room.member") || !pending->replaces_nid)
            continue;
        replaced[i] = pending->replaces_nid;
        for (size_t k = 0; k < i; k++) { /* replaced within the batch: not stored yet */
            if (write->events[k].nid != replaced[i])
                continue;
            publication->previous_memberships[i] = json_get_string(write->events[k].event->content, "membership");
            replaced[i] = 0;
        }
    }
    enum fault fault = hot_room_events(write->call, write->room, replaced, write->count, events);
    if (fault)
        return fault;
    for (size_t i = 0; i < write->count; i++)
        if (events[i])
            publication->previous_memberships[i] = json_get_string(events[i]->content, "membership");
    if (local && !write->is_new_room && (fault = hot_room_servers(write->call, write->room, &publication->servers)))
        return fault;
    *out = publication;
    return FAULT_OK;
}

/* The room's servers and the event's own, without ourselves and without doubles. */
static struct slices destinations(struct arena *arena, struct slices servers, struct slices own)
{
    struct slice *all = arena_new_array(arena, servers.len + own.len, struct slice);
    size_t count = 0;
    for (size_t i = 0; i < servers.len + own.len; i++) {
        struct slice server = i < servers.len ? servers.at[i] : own.at[i - servers.len];
        bool known = slice_eq(server, server_name());
        for (size_t k = 0; k < count && !known && i >= servers.len; k++)
            known = slice_eq(all[k], server);
        if (!known)
            all[count++] = server;
    }
    return (struct slices){all, count};
}

void publication_send(struct publication *publication, const struct room_write *write)
{
    struct call *call = write->call;
    for (size_t i = 0; i < write->count; i++) {
        const struct pending_event *pending = &write->events[i];
        const struct event *event = pending->event;
        if (pending->flags & (EVENT_REJECTED | EVENT_OUTLIER))
            continue;
        bool local = pending->flags & EVENT_LOCAL, member = event_is(event, "m.room.member");
        struct stream_event hint = {
            .room_id = write->room->room_id,
            .event_id = event->event_id,
            .type = event->type,
            .state_key = event->state_key,
            .sender = event->sender,
            .event_nid = pending->nid,
            .room_nid = write->room->room_nid,
            .room_pos = pending->room_pos,
            .depth = event->depth,
            .origin_server_ts = event->origin_server_ts,
            .json = event->raw,
            .device_id = i == 0 ? write->txn.device : SLICE_ABSENT,
            .txn_id = i == 0 ? write->txn.id : SLICE_ABSENT,
            .soft_failed = pending->flags & EVENT_SOFT_FAILED,
            .state_changed = pending->is_current,
            .local = local,
            .destinations =
                local ? destinations(call->arena, publication->servers, pending->destinations) : (struct slices){NULL, 0},
            .membership = member ? json_get_string(event->content, "membership") : SLICE_ABSENT,
            .previous_membership = publication->previous_memberships[i],
        };
        stream_publish(call->worker, STREAM_event, write->room->room_id, write->pos, write->horizon,
                       stream_event_pack(call->arena, &hint));
        if (member && pending->is_current && slice_eq(id_server_name(event->state_key), server_name()))
            stream_publish(call->worker, STREAM_membership, event->state_key, write->pos, write->horizon, write->room->room_id);
    }
}
