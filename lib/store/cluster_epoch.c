/* See cluster_epoch.h. */
#include "lib/store/cluster_epoch.h"

#include <stdatomic.h>

#include "lib/store/queries.h"

enum fault cluster_epoch(struct call *call, int64_t *epoch)
{
    static _Atomic int64_t known;
    *epoch = atomic_load(&known);
    if (*epoch)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_cluster_epoch(batch);
    enum fault fault = db_run(batch);
    struct cluster_epoch_row row;
    if (fault)
        return fault;
    if (!cluster_epoch_next(result, &row))
        return FAULT_INTERNAL;
    atomic_store(&known, row.epoch);
    *epoch = row.epoch;
    return FAULT_OK;
}

int64_t token_epoch(struct slice sync_token)
{
    const char *mark = sync_token.len > 2 ? memmem(sync_token.at, sync_token.len, "_g", 2) : NULL;
    int64_t epoch = 1;
    if (!mark)
        return 1;
    struct slice digits = slice_sub(sync_token, (size_t)(mark - sync_token.at) + 2, SIZE_MAX);
    size_t len = 0;
    while (len < digits.len && digits.at[len] >= '0' && digits.at[len] <= '9')
        len++;
    return slice_to_i64(slice_sub(digits, 0, len), &epoch) ? epoch : 1;
}
