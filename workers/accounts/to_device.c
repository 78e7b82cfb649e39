/* Delivery of to-device messages; see to_device.h. */
#include "workers/accounts/to_device.h"

#include "lib/base/clock.h"
#include "lib/matrix/ids.h"
#include "workers/accounts/changes.h"
#include "workers/accounts/queries.h"

const char *to_device_problem(const struct json *messages)
{
    size_t count = 0;
    if (!json_is(messages, JSON_OBJECT))
        return "messages must be an object";
    json_each (user, messages) {
        if (!json_is(user, JSON_OBJECT))
            return "messages must map users to devices to contents";
        json_each (content, user)
            if (!json_is(content, JSON_OBJECT) || slice_has_nul(content->key))
                return "a message's content must be an object";
        count += user->count;
    }
    return count > INBOX_MESSAGES_MAX ? "too many messages at once" : NULL;
}

/* {"type":…,"sender":…,"content":…} */
static struct slice event_of(struct call *call, const struct to_device *message, const struct json *content)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "type", message->type);
    json_put_string(&w, "sender", message->sender);
    json_put_raw(&w, "content", content->span);
    json_end_object(&w);
    return json_done(&w);
}

enum fault to_device_deliver(struct call *call, const struct to_device *message)
{
    size_t most = 0, count = 0;
    json_each (user, message->messages)
        most += user->count;
    struct slice *users = arena_new_array(call->arena, most + 1, struct slice);
    struct slice *devices = arena_new_array(call->arena, most + 1, struct slice);
    struct slice *events = arena_new_array(call->arena, most + 1, struct slice);
    json_each (user, message->messages) {
        if (!user_id_is_valid(user->key) || !slice_eq(id_server_name(user->key), server_name()))
            continue;
        json_each (content, user) {
            users[count] = user->key;
            devices[count] = content->key;
            events[count++] = event_of(call, message, content);
        }
    }
    struct changes changes = changes_in(call);
    struct to_device_deliver_row row;
    struct db_batch *batch = call_batch(call);
    struct db_result *result =
        q_to_device_deliver(batch, message->dedupe_sender, message->dedupe_id, clock_wall_ms(), (struct slices){users, count},
                            (struct slices){devices, count}, (struct slices){events, count});
    enum fault fault = db_run(batch);
    while (!fault && to_device_deliver_next(result, &row))
        changes_add(&changes, STREAM_to_device, row.user_id, row.pos);
    if (!fault)
        changes_publish(&changes);
    return fault;
}
