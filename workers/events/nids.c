/* Blocks of interned numbers; see nids.h. */
#include "workers/events/nids.h"

#include <pthread.h>

#include "workers/events/queries.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t next_nid, block_end; /* guarded by lock; equal: empty */

static size_t take_from_memory(size_t count, int64_t *out)
{
    size_t taken = 0;
    pthread_mutex_lock(&lock);
    while (taken < count && next_nid < block_end)
        out[taken++] = next_nid++;
    pthread_mutex_unlock(&lock);
    return taken;
}

enum fault nids_take(struct call *call, size_t count, int64_t *out)
{
    for (size_t taken = 0;;) {
        taken += take_from_memory(count - taken, out + taken);
        if (taken == count)
            return FAULT_OK;
        struct db_batch *batch = call_batch(call);
        struct db_result *result = q_nid_block(batch);
        enum fault fault = db_run(batch);
        struct nid_block_row row;
        if (fault || !nid_block_next(result, &row))
            return fault ? fault : FAULT_INTERNAL;
        pthread_mutex_lock(&lock); /* two threads may fetch at once: the later block wins, the rest of the other is lost */
        next_nid = row.last;
        block_end = row.last + NID_BLOCK;
        pthread_mutex_unlock(&lock);
    }
}
