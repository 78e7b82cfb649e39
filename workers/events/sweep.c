/* Transaction ids of sends, and who besides the members had to get an event; see sweep.h. */
#include "workers/events/sweep.h"

#include "lib/base/clock.h"
#include "lib/kit/sweep.h"
#include "workers/events/queries.h"

#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define TXN_MS DAY_MS                /* clients repeat a send for minutes; Synapse keeps the ids as long */
#define DESTINATION_MS (90 * DAY_MS) /* a server that was away for longer need not learn whom we kicked then */

static enum fault sweep_txns(struct call *call, int64_t *removed)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_txn_expire(batch, clock_wall_ms() - TXN_MS, SWEEP_ROWS);
    enum fault fault = db_run(batch);
    if (!fault)
        *removed = db_affected(result);
    return fault;
}

/* Page by page through the table, from its beginning again at its end: rows that are still owed stay behind. One page a round. */
static enum fault sweep_destinations(struct call *call, int64_t *removed)
{
    static int64_t last_nid;
    static char last_server[256];
    struct db_batch *batch = call_batch(call);
    struct db_result *result =
        q_destinations_settle(batch, last_nid, slice_from_cstr(last_server), SWEEP_ROWS, clock_wall_ms() - DESTINATION_MS);
    enum fault fault = db_run(batch);
    struct destinations_settle_row row;
    if (fault || !destinations_settle_next(result, &row))
        return fault;
    bool is_end = row.event_nid == DB_NULL_I64;
    last_nid = is_end ? 0 : row.event_nid;
    size_t len = is_end || row.server.len >= sizeof last_server ? 0 : row.server.len;
    memcpy(last_server, row.server.at ? row.server.at : "", len);
    last_server[len] = '\0';
    *removed = row.removed;
    return FAULT_OK;
}

void events_sweeps_start(struct worker *worker)
{
    static const struct sweep sweeps[] = {{"event_txn", sweep_txns}, {"event_destination", sweep_destinations}};
    sweeps_start(worker, sweeps, sizeof sweeps / sizeof sweeps[0]);
}
