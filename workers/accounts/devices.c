/* Devices (Client-Server API "Device Management"): list, show, rename, delete. */
#include "proto/dispatch.h"
#include "workers/accounts/device_lists.h"
#include "workers/accounts/device_remove.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/session.h"
#include "workers/accounts/ui_auth.h"

static void write_device(struct json_writer *w, struct slice id, struct slice name, int64_t seen_ts, struct slice seen_ip)
{
    json_begin_object(w);
    json_put_string(w, "device_id", id);
    json_put_string(w, "display_name", name);
    if (seen_ts) {
        json_put_i64(w, "last_seen_ts", seen_ts);
        json_put_string(w, "last_seen_ip", seen_ip);
    }
    json_end_object(w);
}

struct reply devices(struct call *call)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_devices_of(batch, call->requester.user_id);
    enum fault fault = db_run(batch);
    struct devices_of_row row;
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_array(&w, "devices");
    while (devices_of_next(result, &row))
        write_device(&w, row.device_id, row.display_name, row.last_seen_ts, row.last_seen_ip);
    json_end_array(&w);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply device(struct call *call)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_device_find(batch, call->requester.user_id, call_param(call, "deviceId"));
    enum fault fault = db_run(batch);
    struct device_find_row row;
    if (fault)
        return call_fail(call, fault, NULL);
    if (!device_find_next(result, &row))
        return call_fail(call, FAULT_NOT_FOUND, "No such device");
    struct json_writer w = json_writer_in(call->arena);
    write_device(&w, row.device_id, row.display_name, row.last_seen_ts, row.last_seen_ip);
    return reply_json(&w);
}

/* The name is part of what others see of the device, when it has keys. */
static enum fault rename_device(struct call *call, struct slice device_id, struct slice name)
{
    struct slice user_id = call->requester.user_id;
    struct changes changes = changes_in(call);
    struct device_rename_row renamed;
    struct device_key_find_row key;
    struct db_batch *transaction = call_transaction(call);
    struct db_result *device = q_device_rename(transaction, user_id, device_id, name);
    struct db_result *keys = q_device_key_find(transaction, user_id, device_id);
    enum fault fault = db_step(transaction);
    if (fault)
        return fault;
    if (!device_rename_next(device, &renamed)) {
        db_rollback(transaction);
        return FAULT_NOT_FOUND;
    }
    if (device_key_find_next(keys, &key) &&
        (fault = device_list_bump(transaction, user_id, (struct slices){&device_id, 1}, &changes)))
        return fault;
    if ((fault = db_commit(transaction)))
        return fault;
    changes_publish(&changes);
    device_lists_tell(call, user_id);
    return FAULT_OK;
}

struct reply update_device(struct call *call)
{
    const struct json *name = json_get_cstr(call->json, "display_name");
    if (name && (!json_is(name, JSON_STRING) || slice_has_nul(name->text)))
        return call_fail(call, FAULT_BAD_JSON, "display_name must be a string");
    if (name && name->text.len > DISPLAY_NAME_BYTES_MAX)
        return call_fail(call, FAULT_INVALID_PARAM, "display_name is too long");
    if (!name) {
        struct reply known = device(call);
        return known.status == 200 ? reply_empty() : known;
    }
    enum fault fault = rename_device(call, call_param(call, "deviceId"), name->text);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such device");
    return fault ? call_fail(call, fault, NULL) : reply_empty();
}

struct reply delete_device(struct call *call)
{
    struct reply answer;
    struct slice device_id = call_param(call, "deviceId");
    if (!ui_auth(call, UI_PASSWORD, &answer))
        return answer;
    enum fault fault = devices_remove(call, call->requester.user_id, (struct slices){&device_id, 1});
    return fault ? call_fail(call, fault, NULL) : reply_empty();
}

struct reply delete_devices(struct call *call)
{
    enum { DEVICES_MAX = 1000 };
    struct reply answer;
    enum fault fault = ui_auth_recall(call);
    if (fault)
        return call_fail(call, fault, NULL);
    const struct json *list = json_get_array(call->json, "devices");
    if (!list && !json_get_cstr(call->json, "auth"))
        return call_fail(call, FAULT_BAD_JSON, "devices must be a list of device ids");
    json_each (item, list)
        if (!json_is(item, JSON_STRING) || slice_has_nul(item->text))
            return call_fail(call, FAULT_BAD_JSON, "devices must be a list of device ids");
    if (list && list->count > DEVICES_MAX)
        return call_fail(call, FAULT_TOO_LARGE, "Too many devices at once");
    if (!ui_auth(call, UI_PASSWORD, &answer))
        return answer;
    list = json_get_array(call->json, "devices");
    struct slice *ids = arena_new_array(call->arena, (list ? list->count : 0) + 1, struct slice);
    size_t count = 0;
    json_each (item, list)
        if (json_is(item, JSON_STRING))
            ids[count++] = item->text;
    fault = devices_remove(call, call->requester.user_id, (struct slices){ids, count});
    return fault ? call_fail(call, fault, NULL) : reply_empty();
}
