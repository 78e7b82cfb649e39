/* PUT …/sendToDevice/{eventType}/{txnId} (Client-Server API "Send-to-Device messaging"). Other servers' users first, by durable
 * EDUs whose message id comes from the transaction: sent twice, they arrive once. Then ours, together with the note that it is
 * done. */
#include <sodium.h>

#include "lib/base/base64.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/remote_keys.h"
#include "workers/accounts/to_device.h"

enum { TXN_ID_BYTES_MAX = 255, MESSAGE_ID_BYTES = 24 };

static enum fault was_seen(struct call *call, const struct to_device *message, bool *seen)
{
    struct to_device_was_seen_row row = {.seen = false};
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_to_device_was_seen(batch, message->dedupe_sender, message->dedupe_id);
    enum fault fault = db_run(batch);
    if (!fault)
        to_device_was_seen_next(result, &row);
    *seen = row.seen;
    return fault;
}

/* 32 characters: "of maximum length 32 codepoints". */
static struct slice message_id(struct call *call, const struct to_device *message)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    struct slice text = arena_printf(call->arena, "%.*s\n%.*s", PRI(message->dedupe_sender), PRI(message->dedupe_id));
    crypto_hash_sha256(hash, (const unsigned char *)text.at, text.len);
    return base64_encode_url(call->arena, slice_of(hash, MESSAGE_ID_BYTES));
}

static struct slice edu_content(struct call *call, const struct to_device *message, struct slice id, struct slices users,
                                const struct server_group *group)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "sender", message->sender);
    json_put_string(&w, "type", message->type);
    json_put_string(&w, "message_id", id);
    json_put_object(&w, "messages");
    for (size_t i = 0; i < group->count; i++) {
        struct slice user_id = users.at[group->members[i]];
        json_key(&w, user_id);
        json_add_value(&w, json_get(message->messages, user_id));
    }
    json_end_object(&w);
    json_end_object(&w);
    return json_done(&w);
}

static enum fault send_to_others(struct call *call, const struct to_device *message)
{
    struct slice *remote = arena_new_array(call->arena, message->messages->count + 1, struct slice);
    size_t count = 0, servers = 0;
    json_each (user, message->messages)
        if (user_id_is_valid(user->key) && !slice_eq(id_server_name(user->key), server_name()))
            remote[count++] = user->key;
    if (!count)
        return FAULT_OK;
    struct slices users = {remote, count};
    struct slice id = message_id(call, message), *columns[4];
    for (size_t i = 0; i < 4; i++)
        columns[i] = arena_new_array(call->arena, count, struct slice);
    for (const struct server_group *group = group_by_server(call->arena, users); group; group = group->next) {
        columns[0][servers] = group->server;
        columns[1][servers] = SLICE("m.direct_to_device");
        columns[2][servers] = id;
        columns[3][servers++] = edu_content(call, message, id, users, group);
    }
    struct enqueue_edus_request request = {.destinations = {columns[0], servers},
                                           .types = {columns[1], servers},
                                           .coalesce_keys = {columns[2], servers},
                                           .contents = {columns[3], servers},
                                           .durable = true};
    struct enqueue_edus_reply reply;
    return call_enqueue_edus(call, SLICE_ABSENT, &request, &reply);
}

struct reply send_to_device(struct call *call)
{
    const struct requester *who = &call->requester;
    struct slice type = call_param(call, "eventType"), txn_id = call_param(call, "txnId");
    const struct json *messages = json_get_cstr(call->json, "messages");
    const char *problem = to_device_problem(messages);
    bool seen;
    if (problem)
        return call_fail(call, FAULT_BAD_JSON, problem);
    if (type.len > MESSAGE_TYPE_BYTES_MAX || txn_id.len > TXN_ID_BYTES_MAX)
        return call_fail(call, FAULT_INVALID_PARAM, "The type or the transaction id is too long");
    struct to_device message = {
        .dedupe_sender = arena_printf(call->arena, "%.*s %.*s", PRI(who->user_id), PRI(who->device_id)),
        .dedupe_id = arena_printf(call->arena, "%.*s %.*s", PRI(type), PRI(txn_id)),
        .sender = who->user_id,
        .type = type,
        .messages = messages,
    };
    enum fault fault = was_seen(call, &message, &seen);
    if (fault)
        return call_fail(call, fault, NULL);
    if (seen)
        return reply_empty();
    if ((fault = send_to_others(call, &message)) || (fault = to_device_deliver(call, &message)))
        return call_fail(call, fault, NULL);
    return reply_empty();
}
