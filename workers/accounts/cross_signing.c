/* POST …/keys/device_signing/upload (Client-Server API "Cross-signing"): the master, self-signing and user-signing keys. The first
 * upload and a repetition need no further proof; anything new does. */
#include "proto/dispatch.h"
#include "workers/accounts/device_lists.h"
#include "workers/accounts/key_merge.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/ui_auth.h"

enum { MASTER, SELF_SIGNING, USER_SIGNING, USAGES };
static const struct {
    const char *member, *usage;
} usages[USAGES] = {{"master_key", "master"}, {"self_signing_key", "self_signing"}, {"user_signing_key", "user_signing"}};

struct upload {
    const struct json *keys[USAGES]; /* NULL: not given */
    struct slice public_keys[USAGES];
    const struct json *stored[USAGES];
};

static bool names_usage(const struct json *key, const char *usage)
{
    json_each (item, json_get_array(key, "usage"))
        if (slice_eq(json_string(item), slice_from_cstr(usage)))
            return true;
    return false;
}

static bool take_keys(struct call *call, struct upload *upload, struct reply *answer)
{
    for (size_t i = 0; i < USAGES; i++) {
        const struct json *key = json_get_cstr(call->json, usages[i].member);
        upload->keys[i] = NULL;
        if (!key || json_is(key, JSON_NULL))
            continue;
        upload->keys[i] = key;
        upload->public_keys[i] = cross_signing_public_key(key);
        if (slice_eq(json_get_string(key, "user_id"), call->requester.user_id) && names_usage(key, usages[i].usage) &&
            !slice_is_absent(upload->public_keys[i]))
            continue;
        *answer = call_failf(call, FAULT_INVALID_PARAM, "%s is not a key of yours of that usage", usages[i].member);
        return false;
    }
    return true;
}

static enum fault load_stored(struct call *call, struct upload *upload, bool *is_device_id)
{
    struct slice user_id = call->requester.user_id;
    struct db_batch *batch = call_batch(call);
    struct db_result *keys = q_cross_signing_keys_of(batch, (struct slices){&user_id, 1});
    struct db_result *devices[USAGES] = {NULL};
    for (size_t i = 0; i < USAGES; i++)
        if (upload->keys[i])
            devices[i] = q_device_find(batch, user_id, upload->public_keys[i]);
    enum fault fault = db_run(batch);
    struct cross_signing_keys_of_row row;
    struct device_find_row device;
    while (!fault && cross_signing_keys_of_next(keys, &row))
        for (size_t i = 0; i < USAGES; i++)
            if (slice_eq(row.usage, slice_from_cstr(usages[i].usage)))
                upload->stored[i] = json_parse(call->arena, row.key, JSON_LAX, NULL);
    *is_device_id = false;
    for (size_t i = 0; i < USAGES && !fault; i++)
        *is_device_id |= devices[i] && device_find_next(devices[i], &device);
    return fault;
}

/* "The request contains no new keys." */
static bool is_repetition(struct call *call, const struct upload *upload)
{
    for (size_t i = 0; i < USAGES; i++)
        if (upload->keys[i] && !(upload->stored[i] && slice_eq(key_signed_bytes(call->arena, upload->keys[i]),
                                                               key_signed_bytes(call->arena, upload->stored[i]))))
            return false;
    return true;
}

/* Self-signing and user-signing keys carry the signature of the master key, the one that comes with them or the stored one. */
static bool check_signatures(struct call *call, const struct upload *upload, struct reply *answer)
{
    struct slice master = upload->keys[MASTER] ? upload->public_keys[MASTER] : cross_signing_public_key(upload->stored[MASTER]);
    for (size_t i = SELF_SIGNING; i < USAGES; i++) {
        if (!upload->keys[i])
            continue;
        if (slice_is_absent(master)) {
            *answer = call_fail(call, FAULT_MISSING_PARAM, "There is no master key");
            return false;
        }
        if (!key_is_signed_by(call->arena, upload->keys[i], call->requester.user_id, master, master)) {
            *answer = call_failf(call, FAULT_INVALID_SIGNATURE, "%s is not signed by the master key", usages[i].member);
            return false;
        }
    }
    return true;
}

static enum fault store(struct call *call, const struct upload *upload)
{
    struct slice user_id = call->requester.user_id, signing = CROSS_SIGNING;
    struct changes changes = changes_in(call);
    struct db_batch *transaction = call_transaction(call);
    for (size_t i = 0; i < USAGES; i++)
        if (upload->keys[i])
            q_cross_signing_key_set(transaction, user_id, slice_from_cstr(usages[i].usage),
                                    json_canonical(call->arena, upload->keys[i], NULL));
    enum fault fault = device_list_bump(transaction, user_id, (struct slices){&signing, 1}, &changes);
    if (fault || (fault = db_commit(transaction)))
        return fault;
    changes_publish(&changes);
    device_lists_tell(call, user_id);
    return FAULT_OK;
}

struct reply cross_signing_upload(struct call *call)
{
    struct upload upload = {.keys = {NULL}};
    struct reply answer;
    bool is_device_id;
    enum fault fault = ui_auth_recall(call);
    if (fault)
        return call_fail(call, fault, NULL);
    if (!take_keys(call, &upload, &answer))
        return answer;
    if ((fault = load_stored(call, &upload, &is_device_id)))
        return call_fail(call, fault, NULL);
    if (is_device_id)
        return call_fail(call, FAULT_FORBIDDEN, "A device of this id exists");
    if (!check_signatures(call, &upload, &answer))
        return answer;
    bool has_keys = upload.keys[MASTER] || upload.keys[SELF_SIGNING] || upload.keys[USER_SIGNING];
    if (has_keys && is_repetition(call, &upload))
        return reply_empty();
    bool needs_proof = upload.stored[MASTER] && slice_is_absent(call->requester.appservice_id);
    if (needs_proof && !ui_auth(call, UI_PASSWORD, &answer))
        return answer;
    if (!has_keys)
        return reply_empty();
    fault = store(call, &upload);
    return fault ? call_fail(call, fault, NULL) : reply_empty();
}
