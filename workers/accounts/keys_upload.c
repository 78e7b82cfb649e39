/* POST …/keys/upload (Client-Server API "End-to-End Encryption"): a device's identity keys, one-time keys and fallback keys. The
 * same again changes nothing; another key under a known one-time key id is refused. */
#include "proto/dispatch.h"
#include "workers/accounts/device_lists.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/key_merge.h"
#include "workers/accounts/queries.h"

enum { ONE_TIME_KEYS_MAX = 1000, KEY_NAME_BYTES_MAX = 255, DEVICE_KEYS_BYTES_MAX = 65536, ONE_KEY_BYTES_MAX = 16384 };

struct key_list {
    struct slice algorithms[ONE_TIME_KEYS_MAX], key_ids[ONE_TIME_KEYS_MAX], keys[ONE_TIME_KEYS_MAX];
    size_t count;
};

static bool are_strings(const struct json *container, enum json_type type)
{
    json_each (item, container)
        if (!json_is(item, JSON_STRING))
            return false;
    return json_is(container, type);
}

/* "algorithms, device_id, keys, signatures and user_id" are required. NULL: fine. */
static const char *device_keys_problem(struct call *call, const struct json *keys)
{
    if (!json_is(keys, JSON_OBJECT))
        return "device_keys must be an object";
    if (!slice_eq(json_get_string(keys, "user_id"), call->requester.user_id))
        return "device_keys are of another user";
    if (!slice_eq(json_get_string(keys, "device_id"), call->requester.device_id))
        return "device_keys are of another device";
    if (!are_strings(json_get_cstr(keys, "algorithms"), JSON_ARRAY))
        return "device_keys.algorithms must be a list of names";
    if (!are_strings(json_get_cstr(keys, "keys"), JSON_OBJECT))
        return "device_keys.keys must be an object of strings";
    const struct json *signatures = json_get_cstr(keys, "signatures");
    json_each (signer, signatures)
        if (!are_strings(signer, JSON_OBJECT))
            return "device_keys.signatures must name signers, keys and signatures";
    return json_is(signatures, JSON_OBJECT) ? NULL : "device_keys.signatures must be an object";
}

/* {"<algorithm>:<key id>": key, …}. False: *answer. */
static bool take_keys(struct call *call, const char *member, struct key_list *list, struct reply *answer)
{
    const struct json *keys = json_get_cstr(call->json, member);
    list->count = 0;
    if (!keys || json_is(keys, JSON_NULL))
        return true;
    if (!json_is(keys, JSON_OBJECT) || keys->count > ONE_TIME_KEYS_MAX) {
        *answer = call_failf(call, FAULT_BAD_JSON, "%s must be an object of %d keys at most", member, ONE_TIME_KEYS_MAX);
        return false;
    }
    json_each (key, keys) {
        struct slice algorithm, key_id;
        bool good = slice_cut(key->key, ':', &algorithm, &key_id) && algorithm.len && key_id.len &&
                    key->key.len <= KEY_NAME_BYTES_MAX && !slice_has_nul(key->key) &&
                    (json_is(key, JSON_STRING) || json_is(key, JSON_OBJECT)) && key->span.len <= ONE_KEY_BYTES_MAX;
        if (!good) {
            *answer = call_failf(call, FAULT_BAD_JSON, "%s has a key that is not one", member);
            return false;
        }
        list->algorithms[list->count] = algorithm;
        list->key_ids[list->count] = key_id;
        list->keys[list->count++] = json_canonical(call->arena, key, NULL);
    }
    return true;
}

#define COLUMN(list, name) ((struct slices){(list)->name, (list)->count})

/* CONFLICT: an id is taken by another key. */
static enum fault check_known(struct db_result *known, const struct key_list *list)
{
    struct one_time_keys_known_row row;
    while (one_time_keys_known_next(known, &row))
        for (size_t i = 0; i < list->count; i++)
            if (slice_eq(list->algorithms[i], row.algorithm) && slice_eq(list->key_ids[i], row.key_id) &&
                !slice_eq(list->keys[i], row.key))
                return FAULT_INVALID_PARAM;
    return FAULT_OK;
}

struct upload {
    const struct json *device_keys; /* NULL: none */
    struct key_list *one_time, *fallback;
    struct json_writer counts;
    enum fault fault;
};

static void write_counts(struct call *call, struct upload *upload, struct db_result *counts)
{
    struct one_time_key_counts_row row;
    struct json_writer *w = &upload->counts;
    bool signed_curve = false;
    *w = json_writer_in(call->arena);
    json_begin_object(w);
    json_put_object(w, "one_time_key_counts");
    while (one_time_key_counts_next(counts, &row)) {
        signed_curve |= slice_eq(row.algorithm, SLICE("signed_curve25519"));
        json_key(w, row.algorithm);
        json_add_i64(w, row.held);
    }
    if (!signed_curve) /* zero is said aloud: some clients wait for the name */
        json_put_i64(w, "signed_curve25519", 0);
    json_end_object(w);
    json_end_object(w);
}

static enum fault store(struct call *call, struct upload *upload)
{
    struct slice user_id = call->requester.user_id, device_id = call->requester.device_id;
    struct changes changes = changes_in(call);
    struct device_key_find_row old;
    struct db_batch *transaction = call_transaction(call);
    struct db_result *held = q_device_hold(transaction, user_id, device_id);
    struct db_result *known = q_one_time_keys_known(transaction, user_id, device_id, COLUMN(upload->one_time, algorithms),
                                                    COLUMN(upload->one_time, key_ids));
    struct db_result *stored = q_device_key_find(transaction, user_id, device_id);
    enum fault fault = db_step(transaction);
    if (!fault && !db_affected(held))
        fault = FAULT_UNKNOWN_TOKEN; /* it was deleted just now, and its token with it */
    if (!fault && (fault = check_known(known, upload->one_time)))
        db_rollback(transaction);
    if (fault)
        return fault;
    struct slice keys = upload->device_keys ? json_canonical(call->arena, upload->device_keys, NULL) : SLICE_ABSENT;
    bool changed = upload->device_keys && !(device_key_find_next(stored, &old) && slice_eq(old.keys, keys));
    if (changed) {
        q_device_key_set(transaction, user_id, device_id, keys);
        q_device_signatures_drop(transaction, user_id, device_id);
        if ((fault = device_list_bump(transaction, user_id, (struct slices){&device_id, 1}, &changes)))
            return fault;
    }
    if (upload->one_time->count) {
        q_one_time_keys_insert(transaction, user_id, device_id, COLUMN(upload->one_time, algorithms),
                               COLUMN(upload->one_time, key_ids), COLUMN(upload->one_time, keys));
        q_one_time_keys_trim(transaction, user_id, device_id, ONE_TIME_KEYS_KEPT);
    }
    for (size_t i = 0; i < upload->fallback->count; i++)
        q_fallback_key_set(transaction, user_id, device_id, upload->fallback->algorithms[i], upload->fallback->key_ids[i],
                           upload->fallback->keys[i]);
    struct db_result *counts = q_one_time_key_counts(transaction, user_id, device_id);
    if ((fault = db_commit(transaction)))
        return fault;
    write_counts(call, upload, counts);
    changes_publish(&changes);
    if (changed)
        device_lists_tell(call, user_id);
    return FAULT_OK;
}

struct reply keys_upload(struct call *call)
{
    struct upload upload = {.device_keys = json_get_cstr(call->json, "device_keys"),
                            .one_time = arena_new(call->arena, struct key_list),
                            .fallback = arena_new(call->arena, struct key_list)};
    struct reply answer;
    if (slice_is_absent(call->requester.device_id))
        return call_fail(call, FAULT_INVALID_PARAM, "The access token has no device");
    if (json_is(upload.device_keys, JSON_NULL))
        upload.device_keys = NULL;
    const char *problem = upload.device_keys ? device_keys_problem(call, upload.device_keys) : NULL;
    if (problem)
        return call_fail(call, FAULT_BAD_JSON, problem);
    if (upload.device_keys && upload.device_keys->span.len > DEVICE_KEYS_BYTES_MAX)
        return call_fail(call, FAULT_TOO_LARGE, "device_keys are too large");
    if (!take_keys(call, "one_time_keys", upload.one_time, &answer) || !take_keys(call, "fallback_keys", upload.fallback, &answer))
        return answer;
    enum fault fault = store(call, &upload);
    if (fault == FAULT_INVALID_PARAM)
        return call_fail(call, fault, "A one-time key of this id exists already, with another key");
    return fault ? call_fail(call, fault, NULL) : reply_json(&upload.counts);
}
