/* message room_create: a new room with its first events, in one transaction. Version 12 derives the room's id from the create
 * event. */
#include "lib/base/clock.h"
#include "lib/store/event_row.h"
#include "proto/dispatch.h"
#include "workers/events/compose.h"
#include "workers/events/nids.h"

#include <sodium.h>

static struct slice random_room_id(struct arena *arena)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char opaque[18];
    for (size_t i = 0; i < sizeof opaque; i++)
        opaque[i] = alphabet[randombytes_uniform(sizeof alphabet - 1)];
    return arena_printf(arena, "!%.*s:%.*s", (int)sizeof opaque, opaque, PRI(server_name()));
}

/* The create event's hash does not depend on anything but its draft: build it once to learn the id. */
static enum fault derived_room_id(struct call *call, const struct room_version *version, const struct event_draft *create,
                                  struct slice *room_id)
{
    struct event *event;
    struct slice built =
        event_build(call->arena, version, create, SLICE_ABSENT, 1, (struct slices){NULL, 0}, (struct slices){NULL, 0});
    enum fault fault = event_parse(call->arena, version, built, &event, NULL);
    if (fault)
        return fault;
    *room_id = arena_printf(call->arena, "!%.*s", (int)event->event_id.len - 1, event->event_id.at + 1);
    return FAULT_OK;
}

enum fault answer_room_create(struct call *call, const struct room_create_request *request, struct room_create_reply *reply)
{
    size_t count = request->types.len;
    const struct room_version *version = room_version_find(request->room_version);
    if (!version)
        return FAULT_UNSUPPORTED_ROOM_VERSION;
    if (count == 0 || request->state_keys.len != count || request->senders.len != count || request->contents.len != count)
        return FAULT_BAD_JSON;
    struct event_draft *drafts = arena_new_array(call->arena, count, struct event_draft);
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < count; i++)
        drafts[i] = (struct event_draft){
            .type = request->types.at[i],
            .state_key = request->state_keys.at[i],
            .sender = slice_is_absent(request->senders.at[i]) ? request->creator : request->senders.at[i],
            .content = request->contents.at[i],
            .origin_server_ts = now,
        };
    struct slice room_id = random_room_id(call->arena);
    int64_t room_nid;
    enum fault fault = version->room_id_is_create_hash ? derived_room_id(call, version, &drafts[0], &room_id) : FAULT_OK;
    if (fault || (fault = nid_take(call, &room_nid)))
        return fault;
    struct hot_room *room = hot_room_new(call, room_nid, room_id, version);
    struct room_write write;
    room_write_begin(&write, call, room, count);
    write.is_new_room = true;
    const char *why = NULL;
    size_t failed = 0;
    fault = compose(&write, drafts, count, &why, &failed);
    if (fault == FAULT_REJECTED || fault == FAULT_BAD_JSON || fault == FAULT_TOO_LARGE)
        call->why = arena_printf(call->arena, "%.*s: %s", PRI(drafts[failed].type), why ? why : fault_facts(fault)->text);
    if (fault || (fault = room_write_commit(&write)))
        return fault;
    struct slice *event_ids = arena_new_array(call->arena, count, struct slice);
    for (size_t i = 0; i < count; i++)
        event_ids[i] = write.events[i].event->event_id;
    reply->room_id = room_id;
    reply->event_ids = (struct slices){event_ids, count};
    return FAULT_OK;
}
