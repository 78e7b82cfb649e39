/* Tidying; see sweep.h. */
#include "workers/accounts/sweep.h"

#include "lib/base/clock.h"
#include "lib/kit/sweep.h"
#include "workers/accounts/device_lists.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/guests.h"
#include "workers/accounts/queries.h"

enum { PENDING_MS = 10000 };

typedef struct db_result *expiry(struct db_batch *batch, int64_t before, int64_t row_limit);

static enum fault expire(struct call *call, expiry *statement, int64_t age_ms, int64_t *removed)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = statement(batch, clock_wall_ms() - age_ms, SWEEP_ROWS);
    enum fault fault = db_run(batch);
    if (!fault)
        *removed = db_affected(result);
    return fault;
}

static enum fault sweep_nonces(struct call *call, int64_t *removed)
{
    return expire(call, q_nonce_expire, NONCE_MS, removed);
}

static enum fault sweep_ui_sessions(struct call *call, int64_t *removed)
{
    return expire(call, q_ui_session_expire, UI_SESSION_MS, removed);
}

static enum fault sweep_to_device_seen(struct call *call, int64_t *removed)
{
    return expire(call, q_to_device_seen_expire, TO_DEVICE_SEEN_MS, removed);
}

/* Keys of remote users with whom none of ours shares a room any more: their updates do not reach us, so what we have is never used
 * again without asking. One page a round, from the beginning again after the end. */
static enum fault sweep_device_lists(struct call *call, int64_t *removed)
{
    static char last[256];
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_device_lists_forget(batch, slice_from_cstr(last), server_name(), SWEEP_ROWS);
    enum fault fault = db_run(batch);
    struct device_lists_forget_row row;
    if (fault || !device_lists_forget_next(result, &row))
        return fault;
    size_t len = row.last.len < sizeof last ? row.last.len : 0;
    memcpy(last, row.last.at ? row.last.at : "", len);
    last[len] = '\0';
    *removed = row.removed;
    return FAULT_OK;
}

/* Nothing is removed here, but the rows go as soon as the others know. */
static enum fault tell_pending(struct call *call, int64_t *removed)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_device_list_pending_users(batch, clock_wall_ms() - PENDING_MS);
    enum fault fault = db_run(batch);
    struct device_list_pending_users_row row;
    while (!fault && device_list_pending_users_next(result, &row))
        device_lists_tell(call, row.user_id);
    return fault;
}

static enum fault sweep_guests(struct call *call, int64_t *removed)
{
    guests_turn_out(call, SLICE_ABSENT);
    return FAULT_OK;
}

void accounts_sweeps_start(struct worker *worker)
{
    static const struct sweep sweeps[] = {{"device_list_pending", tell_pending},    {"guest", sweep_guests},
                                          {"registration_nonce", sweep_nonces},     {"ui_auth_session", sweep_ui_sessions},
                                          {"to_device_seen", sweep_to_device_seen}, {"device_list", sweep_device_lists}};
    sweeps_start(worker, sweeps, sizeof sweeps / sizeof sweeps[0]);
}
