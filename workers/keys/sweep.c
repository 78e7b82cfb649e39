/* Other servers' keys; see sweep.h. An expired key still verifies events of its time, and its server may be gone: it is kept for a
 * year after it was heard of last. Whoever needs it later asks the server or a notary, as with any unknown key. */
#include "workers/keys/sweep.h"

#include "lib/base/clock.h"
#include "lib/kit/sweep.h"
#include "workers/keys/queries.h"

#define UNHEARD_MS (INT64_C(365) * 24 * 3600 * 1000)

static enum fault sweep_keys(struct call *call, int64_t *removed)
{
    int64_t before = clock_wall_ms() - UNHEARD_MS;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_server_keys_expire(batch, before, SWEEP_ROWS);
    enum fault fault = db_run(batch);
    if (!fault)
        *removed = db_affected(result);
    return fault;
}

void keys_sweeps_start(struct worker *worker)
{
    static const struct sweep sweeps[] = {{"server_key", sweep_keys}};
    sweeps_start(worker, sweeps, sizeof sweeps / sizeof sweeps[0]);
}
