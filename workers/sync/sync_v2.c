/* GET /sync (Client-Server API "Syncing"): looks first, parks when there is nothing to tell, and is run again when something was
 * published. */
#include "lib/base/clock.h"
#include "proto/dispatch.h"
#include "workers/sync/counters.h"
#include "workers/sync/fast_path.h"
#include "workers/sync/full_path.h"
#include "workers/sync/presence.h"
#include "workers/sync/seen.h"

static int64_t time_left(const struct call *call, const struct sync_request *request)
{
    return request->timeout_ms - call->parked_ms;
}

struct reply sync_v2(struct call *call)
{
    struct sync_request request;
    struct sync_work work;
    struct reply answer;
    struct slice body;
    struct slices topics;
    if (!sync_request_read(call, &request, &answer))
        return answer;
    if (call->parked_ms == 0) {
        presence_seen(call, request.user_id, request.set_presence);
        device_seen_note(call);
    } else {
        metric_add(counters.wakes, 1);
    }
    bool may_park = !request.first && !request.full_state && time_left(call, &request) > 0 && !worker_is_draining(call->worker);
    switch (fast_path_run(call, &request, &body, &topics)) {
    case FAST_TOLD:
        metric_add(counters.fast, 1);
        return reply_raw_json(body);
    case FAST_NOTHING:
        metric_add(counters.fast, 1);
        if (!may_park)
            return reply_raw_json(body);
        metric_add(counters.parked, 1);
        return call_park(call, topics.at, topics.len, clock_monotonic_ms() + time_left(call, &request));
    case FAST_UNSURE:
        break;
    }
    metric_add(counters.slow, 1);
    struct fast_mark mark = fast_path_mark();
    enum fault fault = full_path_run(call, &request, &work, &body);
    if (fault)
        return call_fail(call, fault, NULL);
    bool parks = may_park && !work.anything;
    fast_path_remember(&request, &work, &mark, parks);
    if (!parks)
        return reply_raw_json(body);
    metric_add(counters.parked, 1);
    return call_park(call, work.topics.at, work.topics.len, clock_monotonic_ms() + time_left(call, &request));
}
