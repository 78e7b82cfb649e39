/* EDUs of other servers about users and devices (Server-Server API "Send-to-device messaging", "Device Management",
 * "Cross-signing"). Each names a user of the origin, or is dropped. A changed device list makes what we cached stale; it is asked
 * for when someone needs it. */
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "workers/accounts/changes.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/to_device.h"

enum { MESSAGE_ID_BYTES_MAX = 255 };

static bool is_of(struct slice user_id, struct slice origin)
{
    return user_id_is_valid(user_id) && slice_eq(id_server_name(user_id), origin);
}

static enum fault take_direct(struct call *call, struct slice origin, const struct json *content)
{
    struct slice id = json_get_string(content, "message_id");
    struct to_device message = {.dedupe_sender = arena_printf(call->arena, "server %.*s", PRI(origin)),
                                .dedupe_id = id,
                                .sender = json_get_string(content, "sender"),
                                .type = json_get_string(content, "type"),
                                .messages = json_get_object(content, "messages")};
    if (slice_is_absent(id) || id.len > MESSAGE_ID_BYTES_MAX || slice_has_nul(id) || !is_of(message.sender, origin) ||
        slice_is_absent(message.type) || message.type.len > MESSAGE_TYPE_BYTES_MAX || to_device_problem(message.messages))
        return FAULT_OK;
    return to_device_deliver(call, &message);
}

/* Users whose lists changed, in parallel arrays. */
struct stale {
    struct slice *users, *devices;
    int64_t *matters; /* 0: the device has no keys, so nothing changed for anybody unless we knew some */
    size_t count;
};

static void note_stale(struct stale *stale, struct slice type, const struct json *content)
{
    struct slice device_id = json_get_string(content, "device_id");
    bool is_device = slice_eq(type, SLICE("m.device_list_update"));
    if (is_device && (slice_is_absent(device_id) || slice_has_nul(device_id)))
        return;
    stale->users[stale->count] = json_get_string(content, "user_id");
    stale->devices[stale->count] = is_device ? device_id : SLICE("");
    stale->matters[stale->count++] =
        !is_device || json_get_object(content, "keys") || json_get_bool(content, "deleted", false) ? 1 : 0;
}

static enum fault mark_stale(struct call *call, const struct stale *stale)
{
    struct changes changes = changes_in(call);
    struct device_lists_stale_row row;
    if (!stale->count)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result =
        q_device_lists_stale(batch, (struct slices){stale->users, stale->count}, (struct slices){stale->devices, stale->count},
                             (struct i64s){stale->matters, stale->count}, server_name());
    enum fault fault = db_run(batch);
    while (!fault && device_lists_stale_next(result, &row))
        changes_add(&changes, STREAM_device_list, row.user_id, row.pos);
    if (!fault)
        changes_publish(&changes);
    return fault;
}

enum fault answer_accounts_receive_edus(struct call *call, const struct accounts_receive_edus_request *request,
                                        struct accounts_receive_edus_reply *reply)
{
    if (request->types.len != request->contents.len)
        return FAULT_BAD_JSON;
    struct stale stale = {.users = arena_new_array(call->arena, request->types.len + 1, struct slice),
                          .devices = arena_new_array(call->arena, request->types.len + 1, struct slice),
                          .matters = arena_new_array(call->arena, request->types.len + 1, int64_t)};
    for (size_t i = 0; i < request->types.len; i++) {
        const struct json *content = json_parse(call->arena, request->contents.at[i], JSON_LAX, NULL);
        struct slice type = request->types.at[i], user_id = json_get_string(content, "user_id");
        if (slice_eq(type, SLICE("m.direct_to_device"))) {
            enum fault fault = take_direct(call, request->origin, content);
            if (fault)
                return fault;
        } else if ((slice_eq(type, SLICE("m.device_list_update")) || slice_eq(type, SLICE("m.signing_key_update"))) &&
                   is_of(user_id, request->origin)) {
            note_stale(&stale, type, content);
        }
    }
    return mark_stale(call, &stale);
}
