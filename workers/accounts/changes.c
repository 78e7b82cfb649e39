/* Stream hints; see changes.h. */
#include "workers/accounts/changes.h"

#include "workers/accounts/queries.h"

struct changes changes_in(struct call *call)
{
    return (struct changes){.call = call, .known = map_create(call->arena)};
}

void changes_add(struct changes *changes, enum stream_kind kind, struct slice key, int64_t pos)
{
    if (!map_put_i64(changes->known, arena_printf(changes->call->arena, "%d %.*s", (int)kind, PRI(key)), pos))
        return;
    if (changes->count == changes->capacity) {
        size_t capacity = changes->capacity ? 2 * changes->capacity : 8;
        changes->at =
            arena_grow(changes->call->arena, changes->at, changes->capacity * sizeof *changes->at, capacity * sizeof *changes->at);
        changes->capacity = capacity;
    }
    changes->at[changes->count++] = (struct change){kind, key, pos};
}

/* 0 when it cannot be read: the tick tells it later. */
static int64_t horizon_now(struct call *call)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_horizon(batch);
    struct horizon_row row;
    return db_run(batch) == FAULT_OK && horizon_next(result, &row) ? row.horizon : 0;
}

void changes_publish(struct changes *changes)
{
    if (!changes->count)
        return;
    int64_t horizon = horizon_now(changes->call);
    for (size_t i = 0; i < changes->count; i++)
        stream_publish(changes->call->worker, changes->at[i].kind, changes->at[i].key, changes->at[i].pos, horizon, SLICE_ABSENT);
    changes->count = 0;
}

void change_publish(struct call *call, enum stream_kind kind, struct slice key, int64_t pos)
{
    struct changes changes = changes_in(call);
    changes_add(&changes, kind, key, pos);
    changes_publish(&changes);
}
