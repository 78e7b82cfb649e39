/* Device list changes; see device_lists.h. */
#include "workers/accounts/device_lists.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "proto/stubs.h"
#include "workers/accounts/key_set.h"
#include "workers/accounts/queries.h"

enum fault device_list_bump(struct db_batch *transaction, struct slice user_id, struct slices device_ids, struct changes *changes)
{
    struct db_result *result = q_device_list_bump(transaction, user_id, device_ids, clock_wall_ms());
    enum fault fault = db_step(transaction);
    struct device_list_bump_row row;
    if (!fault && device_list_bump_next(result, &row))
        changes_add(changes, STREAM_device_list, user_id, row.pos);
    return fault;
}

/* {"user_id", "device_id", "stream_id", "prev_id", "deleted"?, "device_display_name"?, "keys"?} */
static struct slice device_update(struct call *call, struct key_set *set, struct slice user_id,
                                  const struct device_list_pending_of_row *row)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "user_id", user_id);
    json_put_string(&w, "device_id", row->device_id);
    json_put_i64(&w, "stream_id", row->stream_id);
    json_put_array(&w, "prev_id");
    if (row->stream_id > 1)
        json_add_i64(&w, row->stream_id - 1);
    json_end_array(&w);
    if (!row->is_there)
        json_put_bool(&w, "deleted", true);
    json_put_string(&w, "device_display_name", row->display_name);
    if (row->is_there)
        json_put_raw(&w, "keys", key_set_device(set, user_id, row->device_id));
    json_end_object(&w);
    return json_done(&w);
}

static struct slice signing_update(struct call *call, struct key_set *set, struct slice user_id)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "user_id", user_id);
    json_put_raw(&w, "master_key", key_set_cross_signing(set, user_id, "master"));
    json_put_raw(&w, "self_signing_key", key_set_cross_signing(set, user_id, "self_signing"));
    json_end_object(&w);
    return json_done(&w);
}

struct update {
    struct slice type, coalesce_key, content;
    struct slice device_id;
    int64_t stream_id;
};

static enum fault enqueue(struct call *call, const struct update *updates, size_t count, struct slices servers)
{
    size_t total = count * servers.len;
    if (total == 0)
        return FAULT_OK;
    struct slice *columns[4];
    for (size_t i = 0; i < 4; i++)
        columns[i] = arena_new_array(call->arena, total, struct slice);
    for (size_t i = 0; i < total; i++) {
        const struct update *update = &updates[i / servers.len];
        columns[0][i] = servers.at[i % servers.len];
        columns[1][i] = update->type;
        columns[2][i] = update->coalesce_key;
        columns[3][i] = update->content;
    }
    struct enqueue_edus_request request = {.destinations = {columns[0], total},
                                           .types = {columns[1], total},
                                           .coalesce_keys = {columns[2], total},
                                           .contents = {columns[3], total},
                                           .durable = true};
    struct enqueue_edus_reply reply;
    return call_enqueue_edus(call, SLICE_ABSENT, &request, &reply);
}

static enum fault settle(struct call *call, struct slice user_id, const struct update *updates, size_t count)
{
    struct slice *ids = arena_new_array(call->arena, count, struct slice);
    int64_t *streams = arena_new_array(call->arena, count, int64_t);
    for (size_t i = 0; i < count; i++) {
        ids[i] = updates[i].device_id;
        streams[i] = updates[i].stream_id;
    }
    struct db_batch *batch = call_batch(call);
    q_device_list_pending_done(batch, user_id, (struct slices){ids, count}, (struct i64s){streams, count});
    return db_run(batch);
}

static enum fault tell(struct call *call, struct slice user_id)
{
    enum { AT_ONCE = 100 };
    struct update updates[AT_ONCE];
    struct slice servers[AT_ONCE * 10];
    size_t count = 0, server_count = 0;
    struct key_set *set;
    struct db_batch *batch = call_batch(call);
    struct db_result *pending = q_device_list_pending_of(batch, user_id),
                     *joined = q_servers_of_user(batch, user_id, server_name());
    enum fault fault = db_run(batch);
    if (fault || (fault = key_set_load(call, (struct slices){&user_id, 1}, user_id, &set)))
        return fault;
    struct device_list_pending_of_row row;
    while (count < AT_ONCE && device_list_pending_of_next(pending, &row)) {
        bool is_signing = row.device_id.len == 0;
        updates[count++] = (struct update){
            .type = is_signing ? SLICE("m.signing_key_update") : SLICE("m.device_list_update"),
            .coalesce_key = arena_printf(call->arena, "%.*s %.*s", PRI(user_id), PRI(row.device_id)),
            .content = is_signing ? signing_update(call, set, user_id) : device_update(call, set, user_id, &row),
            .device_id = row.device_id,
            .stream_id = row.stream_id,
        };
    }
    struct servers_of_user_row server;
    bool more = true;
    while (!fault && count && more) { /* a thousand servers per message */
        server_count = 0;
        while (server_count < AT_ONCE * 10 && (more = servers_of_user_next(joined, &server)))
            servers[server_count++] = server.server;
        fault = enqueue(call, updates, count, (struct slices){servers, server_count});
    }
    return fault || !count ? fault : settle(call, user_id, updates, count);
}

void device_lists_tell(struct call *call, struct slice user_id)
{
    enum fault fault = tell(call, user_id);
    if (fault)
        log_event(LOG_WARN, "device list change waits", LOG_STR("user", user_id), LOG_CSTR("fault", fault_facts(fault)->name));
}
