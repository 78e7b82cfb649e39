/* Devices seen; see seen.h. */
#include "workers/sync/seen.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/lru.h"
#include "proto/stubs.h"

enum { AGAIN_MS = 10 * 60 * 1000, TOLD_BYTES = 4 << 20, WAIT_MS = 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lru *told; /* "<user> <device>" → malloc'ed monotonic ms when accounts was told */

static bool is_due(struct slice key)
{
    int64_t now = clock_monotonic_ms();
    pthread_mutex_lock(&lock);
    if (!told)
        told = lru_create(TOLD_BYTES, free);
    const int64_t *last = lru_get(told, key);
    bool due = !last || now - *last >= AGAIN_MS;
    if (due) {
        int64_t *mark = malloc(sizeof *mark);
        ensure(mark);
        *mark = now;
        lru_put(told, key, mark, sizeof *mark);
    }
    pthread_mutex_unlock(&lock);
    return due;
}

void device_seen_note(struct call *call)
{
    const struct requester *who = &call->requester;
    if (slice_is_absent(who->device_id) || !slice_is_absent(who->appservice_id))
        return;
    if (!is_due(arena_printf(call->arena, "%.*s %.*s", PRI(who->user_id), PRI(who->device_id))))
        return;
    struct device_seen_request request = {.user_id = who->user_id,
                                          .device_id = who->device_id,
                                          .seen_ts = clock_wall_ms(),
                                          .address = call->http->remote_address,
                                          .user_agent = call->http->user_agent};
    struct device_seen_reply reply;
    int64_t deadline_ms = call->deadline_ms, soon_ms = clock_monotonic_ms() + WAIT_MS;
    call->deadline_ms = soon_ms < deadline_ms ? soon_ms : deadline_ms;
    call_device_seen(call, request.user_id, &request, &reply); /* when it fails: in ten minutes again */
    call->deadline_ms = deadline_ms;
}
