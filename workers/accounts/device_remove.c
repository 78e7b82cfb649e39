/* Removing devices; see device_remove.h. */
#include "workers/accounts/device_remove.h"

#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "workers/accounts/device_lists.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/session.h"

/* Account data that belongs to one device (m.local_notification_settings and its first name). */
static struct slices settings_of(struct arena *arena, struct slices device_ids)
{
    struct slice *types = arena_new_array(arena, 2 * device_ids.len, struct slice);
    for (size_t i = 0; i < device_ids.len; i++) {
        types[2 * i] = arena_printf(arena, "m.local_notification_settings.%.*s", PRI(device_ids.at[i]));
        types[2 * i + 1] = arena_printf(arena, "org.matrix.msc3890.local_notification_settings.%.*s", PRI(device_ids.at[i]));
    }
    return (struct slices){types, 2 * device_ids.len};
}

enum fault devices_remove_in(struct call *call, struct db_batch *transaction, struct slice user_id, struct slices device_ids,
                             struct changes *changes)
{
    struct db_result *tokens = q_tokens_drop(transaction, user_id, device_ids);
    q_refresh_tokens_drop(transaction, user_id, device_ids);
    q_one_time_keys_drop(transaction, user_id, device_ids);
    q_fallback_keys_drop(transaction, user_id, device_ids);
    q_to_device_drop(transaction, user_id, device_ids);
    struct db_result *keys = q_device_keys_drop(transaction, user_id, device_ids);
    q_devices_drop(transaction, user_id, device_ids);
    struct db_result *settings = q_account_data_empty(transaction, user_id, settings_of(call->arena, device_ids));
    enum fault fault = db_step(transaction);
    if (fault)
        return fault;
    TOKENS_DROPPED(changes, tokens, tokens_drop_row, tokens_drop_next);
    struct account_data_empty_row emptied;
    while (account_data_empty_next(settings, &emptied))
        changes_add(changes, STREAM_account_data, user_id, emptied.pos);
    /* Clients and other servers knew of those with keys only. */
    struct slice *known = arena_new_array(call->arena, device_ids.len, struct slice);
    size_t count = 0;
    struct device_keys_drop_row key;
    while (device_keys_drop_next(keys, &key))
        known[count++] = key.device_id;
    return count ? device_list_bump(transaction, user_id, (struct slices){known, count}, changes) : FAULT_OK;
}

enum fault devices_remove(struct call *call, struct slice user_id, struct slices device_ids)
{
    if (device_ids.len == 0)
        return FAULT_OK;
    struct changes changes = changes_in(call);
    struct db_batch *transaction = call_transaction(call);
    enum fault fault = devices_remove_in(call, transaction, user_id, device_ids, &changes);
    if (fault || (fault = db_commit(transaction)))
        return fault;
    changes_publish(&changes);
    device_lists_tell(call, user_id);
    return FAULT_OK;
}

enum fault devices_except(struct call *call, struct slice user_id, struct slice kept, struct slices *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_devices_of(batch, user_id);
    enum fault fault = db_run(batch);
    struct devices_of_row row;
    struct slice *ids = NULL;
    size_t count = 0, capacity = 0;
    while (!fault && devices_of_next(result, &row)) {
        if (!slice_is_absent(kept) && slice_eq(row.device_id, kept))
            continue;
        if (count == capacity) {
            ids = arena_grow(call->arena, ids, capacity * sizeof *ids, (capacity + 32) * sizeof *ids);
            capacity += 32;
        }
        ids[count++] = row.device_id;
    }
    *out = (struct slices){ids, count};
    return fault;
}
