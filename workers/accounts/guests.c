/* Guests in rooms; see guests.h. "If the m.room.guest_access event is changed to stop this from being the case, the server MUST set
 * those users' m.room.member state to leave" (Client-Server API "Guest Access"). Who joins is looked at by `rooms`; this is about
 * those who are in. Every replica hears of the change; the second leave of a guest is refused by the rules of rooms. */
#include "workers/accounts/guests.h"

#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/kit/stream.h"
#include "proto/stubs.h"
#include "workers/accounts/queries.h"

enum { PAYLOAD_ARENA_BYTES = 64 * 1024 * 1024 /* bounded by the bus; never reached */ };

void guests_turn_out(struct call *call, struct slice room_id)
{
    const struct slice type = SLICE("m.room.member"), content = SLICE("{\"membership\":\"leave\"}");
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_guests_out_of_place(batch, room_id);
    enum fault fault = db_run(batch);
    struct guests_out_of_place_row row;
    while (!fault && guests_out_of_place_next(result, &row)) {
        struct room_append_request request = {.room_id = row.room_id,
                                              .types = {&type, 1},
                                              .state_keys = {&row.user_id, 1},
                                              .senders = {&row.user_id, 1},
                                              .contents = {&content, 1}};
        struct room_append_reply reply;
        enum fault refused = call_room_append(call, row.room_id, &request, &reply);
        if (refused)
            log_event(LOG_INFO, "a guest did not leave", LOG_STR("user", row.user_id), LOG_STR("room", row.room_id),
                      LOG_CSTR("fault", fault_facts(refused)->name));
    }
}

static void turn_out(struct call *call, void *context)
{
    struct slice room_id = arena_copy(call->arena, slice_from_cstr(context));
    free(context);
    guests_turn_out(call, room_id);
}

/* The link thread: quick, so it looks for the type before it unpacks. */
static void heard(struct worker *worker, const struct stream_hint *hint, bool gap, void *context)
{
    const struct slice type = SLICE("m.room.guest_access");
    struct stream_event event;
    if (!hint || hint->kind != STREAM_event || gap || !memmem(hint->payload.at, hint->payload.len, type.at, type.len))
        return;
    struct arena *arena = arena_create(PAYLOAD_ARENA_BYTES);
    bool changed = stream_event_unpack(arena, hint->payload, &event) && event.state_changed && slice_eq(event.type, type);
    char *room_id = changed ? strndup(event.room_id.at, event.room_id.len) : NULL;
    if (room_id && !worker_enqueue(worker, slice_from_cstr(room_id), turn_out, room_id))
        free(room_id);
    arena_destroy(&arena);
}

void guests_start(struct worker *worker)
{
    stream_listen(worker, SERVICE_events, heard, NULL);
}
