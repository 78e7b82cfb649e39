/* Introductions; see introduce.h. "m.device_list_update … must be sent … when that user joins a room which contains servers which
 * are not already receiving updates for that user's device list" (Server-Server API "Device Management"). Told by the stream of
 * events, so best effort: servers ask for the devices of whom they meet anyway. Every replica hears it; equal EDUs coalesce in the
 * queue. */
#include "workers/accounts/introduce.h"

#include <stdlib.h>

#include "lib/matrix/ids.h"
#include "workers/accounts/device_lists.h"
#include "workers/accounts/queries.h"

enum { PAYLOAD_ARENA_BYTES = 64 * 1024 * 1024 /* bounded by the bus; never reached */ };

static void introduce(struct call *call, void *context)
{
    struct slice user_id = arena_copy(call->arena, slice_from_cstr(context));
    free(context);
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_devices_to_introduce(batch, user_id);
    struct db_result *servers = q_servers_of_user(batch, user_id, server_name());
    struct servers_of_user_row server;
    enum fault fault = db_run(batch);
    struct devices_to_introduce_row row;
    struct slice ids[100];
    size_t count = 0;
    while (!fault && count < sizeof ids / sizeof ids[0] && devices_to_introduce_next(result, &row))
        ids[count++] = row.device_id;
    if (fault || !count || !servers_of_user_next(servers, &server))
        return;
    batch = call_batch(call);
    q_device_list_introduce(batch, user_id, (struct slices){ids, count});
    if (db_run(batch) == FAULT_OK)
        device_lists_tell(call, user_id);
}

/* The link thread: quick. The key is the room; whose join it was stands in the payload. */
static void heard(struct worker *worker, const struct stream_hint *hint, bool gap, void *context)
{
    struct stream_event event;
    if (!hint || hint->kind != STREAM_event || gap)
        return;
    struct arena *arena = arena_create(PAYLOAD_ARENA_BYTES);
    bool joined = stream_event_unpack(arena, hint->payload, &event) && event.state_changed &&
                  slice_eq(event.type, SLICE("m.room.member")) && slice_eq(event.membership, SLICE("join")) &&
                  !slice_eq(event.previous_membership, SLICE("join")) && !slice_is_absent(event.state_key) &&
                  slice_eq(id_server_name(event.state_key), server_name());
    char *user_id = joined ? strndup(event.state_key.at, event.state_key.len) : NULL;
    if (user_id && !worker_enqueue(worker, slice_from_cstr(user_id), introduce, user_id))
        free(user_id);
    arena_destroy(&arena);
}

void introductions_start(struct worker *worker)
{
    stream_listen(worker, SERVICE_events, heard, NULL);
}
