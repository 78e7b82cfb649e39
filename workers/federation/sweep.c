/* Answers of received transactions; see sweep.h. */
#include "workers/federation/sweep.h"

#include "lib/base/clock.h"
#include "lib/kit/sweep.h"
#include "workers/federation/queries.h"

/* Longer than the longest back-off of a sender that repeats a transaction whose answer it did not get: Synapse waits for a week at
 * most. */
#define RECEIVED_MS (INT64_C(8) * 24 * 3600 * 1000)

static enum fault sweep_received(struct call *call, int64_t *removed)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_received_expire(batch, clock_wall_ms() - RECEIVED_MS, SWEEP_ROWS);
    enum fault fault = db_run(batch);
    if (!fault)
        *removed = db_affected(result);
    return fault;
}

void federation_sweeps_start(struct worker *worker)
{
    static const struct sweep sweeps[] = {{"received_transaction", sweep_received}};
    sweeps_start(worker, sweeps, sizeof sweeps / sizeof sweeps[0]);
}
