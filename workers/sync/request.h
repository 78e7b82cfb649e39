/* What one GET /sync asks for: its query, understood. */
#ifndef MYELIN_SYNC_REQUEST_H
#define MYELIN_SYNC_REQUEST_H

#include "lib/kit/call.h"
#include "workers/sync/filter.h"
#include "workers/sync/token.h"

struct sync_request {
    struct slice user_id, device_id;
    struct slice since_text; /* absent: first sync */
    struct sync_token since; /* sync_token_none() for a first sync */
    int64_t epoch;           /* of the cluster, and of since */
    bool first;
    bool full_state;
    const char *state_after; /* the name it goes by in the answer; NULL: classic state */
    int64_t timeout_ms;
    struct slice filter_text;  /* as given: an id or JSON; absent if none */
    struct slice set_presence; /* online, offline, unavailable; absent if not said */
    struct sync_filter filter;
};

/* False: *answer. Reads the database when the filter is an id that is not in the cache. */
bool sync_request_read(struct call *call, struct sync_request *out, struct reply *answer);

#endif
