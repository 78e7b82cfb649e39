/* myelin-events: event persistence, the only writer of rooms (DESIGN §2, §9). */
#define MYELIN_DISPATCH
#include "lib/kit/sweep.h"
#include "proto/dispatch.h"
#include "workers/events/heavy_work.h"
#include "workers/events/hot_room.h"
#include "workers/events/state_keys.h"
#include "workers/events/sweep.h"

enum { STATE_KEY_CACHE_BYTES = 8 * 1024 * 1024 };

static enum fault start(struct worker *worker)
{
    hot_rooms_start((size_t)worker_settings(worker)->room_cache_size);
    state_keys_start(STATE_KEY_CACHE_BYTES);
    heavy_work_start(worker_settings(worker)->threads_of[SERVICE_events]);
    events_sweeps_start(worker);
    return FAULT_OK;
}

static const struct worker_kind kind = {
    .service = SERVICE_events,
    .routes = dispatch_routes,
    .messages = dispatch_messages,
    .start = start,
    .stop = sweeps_stop,
};

int main(int argc, char **argv)
{
    return worker_main(&kind, argc, argv);
}
