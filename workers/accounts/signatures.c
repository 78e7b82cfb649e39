/* POST …/keys/signatures/upload (Client-Server API "Cross-signing"). Whom one may sign: one's own devices with the self-signing
 * key, one's own master key with a device, other users' master keys with the user-signing key. The object must be the key as it is
 * stored. */
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "workers/accounts/device_lists.h"
#include "workers/accounts/key_merge.h"
#include "workers/accounts/key_set.h"
#include "workers/accounts/queries.h"

enum { SIGNATURES_MAX = 2000 };

struct accepted {
    struct slice key_ids[SIGNATURES_MAX], users[SIGNATURES_MAX], targets[SIGNATURES_MAX], texts[SIGNATURES_MAX];
    size_t count;
    struct slice own_devices[SIGNATURES_MAX]; /* and CROSS_SIGNING for the master key */
    size_t own_count;
    struct slice others[SIGNATURES_MAX];
    size_t other_count;
};

struct signing {
    struct call *call;
    struct slice me;
    struct key_set *set;
    struct slice self_signing, user_signing; /* my public keys; absent if none */
    struct accepted *accepted;
};

static struct slice public_key_of(struct signing *signing, const char *usage)
{
    struct slice key = key_set_cross_signing(signing->set, signing->me, usage);
    return slice_is_absent(key) ? SLICE_ABSENT : cross_signing_public_key(json_parse(signing->call->arena, key, JSON_LAX, NULL));
}

/* The stored key of this id; *is_device tells which it is. Absent: there is none. */
static struct slice stored_key(struct signing *signing, struct slice user_id, struct slice target, bool *is_device)
{
    struct slice device = key_set_device(signing->set, user_id, target);
    *is_device = !slice_is_absent(device);
    if (*is_device)
        return device;
    struct slice master = key_set_cross_signing(signing->set, user_id, "master");
    if (slice_is_absent(master))
        return master;
    struct slice public_key = cross_signing_public_key(json_parse(signing->call->arena, master, JSON_LAX, NULL));
    return !slice_is_absent(public_key) && slice_eq(public_key, target) ? master : SLICE_ABSENT;
}

/* The key that a signature by `key_id` must verify with. Absent: such a signature is not for this target. */
static struct slice signer_key(struct signing *signing, struct slice user_id, bool is_device, struct slice name)
{
    bool is_mine = slice_eq(user_id, signing->me);
    if (!is_mine)
        return !is_device && !slice_is_absent(signing->user_signing) && slice_eq(name, signing->user_signing) ? name : SLICE_ABSENT;
    if (is_device)
        return !slice_is_absent(signing->self_signing) && slice_eq(name, signing->self_signing) ? name : SLICE_ABSENT;
    struct slice device = key_set_device(signing->set, signing->me, name);
    if (slice_is_absent(device))
        return SLICE_ABSENT;
    const struct json *keys = json_get_object(json_parse(signing->call->arena, device, JSON_LAX, NULL), "keys");
    return json_string(json_get(keys, arena_printf(signing->call->arena, "ed25519:%.*s", PRI(name))));
}

/* One signed object: NULL when all its signatures of ours are good and noted; else the errcode. */
static const char *take_object(struct signing *signing, struct slice user_id, const struct json *object)
{
    bool is_device;
    struct arena *arena = signing->call->arena;
    struct accepted *accepted = signing->accepted;
    struct slice target = object->key, stored = stored_key(signing, user_id, target, &is_device);
    if (slice_is_absent(stored))
        return "M_NOT_FOUND";
    if (!slice_eq(key_signed_bytes(arena, object), key_signed_bytes(arena, json_parse(arena, stored, JSON_LAX, NULL))))
        return "M_INVALID_PARAM";
    size_t noted = 0;
    const struct json *own_before = json_get(json_get_object(json_parse(arena, stored, JSON_LAX, NULL), "signatures"), signing->me);
    json_each (signature, json_get(json_get_object(object, "signatures"), signing->me)) {
        struct slice algorithm, name;
        if (!slice_cut(signature->key, ':', &algorithm, &name) || slice_has_nul(signature->key))
            return "M_INVALID_SIGNATURE";
        if (slice_eq(json_string(json_get(own_before, signature->key)), json_string(signature))) {
            noted++; /* known: the device's own, for one */
            continue;
        }
        struct slice key = signer_key(signing, user_id, is_device, name);
        if (!slice_eq(algorithm, SLICE("ed25519")) || slice_is_absent(key) ||
            !key_is_signed_by(arena, object, signing->me, name, key))
            return "M_INVALID_SIGNATURE";
        if (accepted->count == SIGNATURES_MAX)
            return "M_TOO_LARGE";
        accepted->key_ids[accepted->count] = signature->key;
        accepted->users[accepted->count] = user_id;
        accepted->targets[accepted->count] = target;
        accepted->texts[accepted->count++] = signature->text;
        noted++;
        if (slice_eq(user_id, signing->me))
            accepted->own_devices[accepted->own_count++] = is_device ? target : CROSS_SIGNING;
        else
            accepted->others[accepted->other_count++] = user_id;
    }
    return noted ? NULL : "M_INVALID_SIGNATURE";
}

static struct slices distinct(struct arena *arena, const struct slice *all, size_t count)
{
    struct slice *kept = arena_new_array(arena, count + 1, struct slice);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        bool known = false;
        for (size_t k = 0; k < len && !known; k++)
            known = slice_eq(kept[k], all[i]);
        if (!known)
            kept[len++] = all[i];
    }
    return (struct slices){kept, len};
}

static enum fault store(struct signing *signing)
{
    struct call *call = signing->call;
    const struct accepted *accepted = signing->accepted;
    size_t count = accepted->count;
    if (!count)
        return FAULT_OK;
    struct slices own = distinct(call->arena, accepted->own_devices, accepted->own_count);
    struct slices others = distinct(call->arena, accepted->others, accepted->other_count);
    struct changes changes = changes_in(call);
    struct device_list_touch_row touched;
    struct db_batch *transaction = call_transaction(call);
    q_signatures_insert(transaction, signing->me, (struct slices){accepted->key_ids, count},
                        (struct slices){accepted->users, count}, (struct slices){accepted->targets, count},
                        (struct slices){accepted->texts, count});
    struct db_result *result = q_device_list_touch(transaction, others);
    enum fault fault = own.len ? device_list_bump(transaction, signing->me, own, &changes) : FAULT_OK;
    if (fault || (fault = db_commit(transaction)))
        return fault;
    while (device_list_touch_next(result, &touched))
        changes_add(&changes, STREAM_device_list, touched.user_id, touched.pos);
    changes_publish(&changes);
    device_lists_tell(call, signing->me);
    return FAULT_OK;
}

static void write_failure(struct json_writer *w, struct slice target, const char *errcode)
{
    json_key(w, target);
    json_begin_object(w);
    json_put_cstr(w, "errcode", errcode);
    json_put_cstr(w, "error", "The signature was not accepted");
    json_end_object(w);
}

static enum fault load(struct signing *signing)
{
    struct call *call = signing->call;
    struct slice *users = arena_new_array(call->arena, call->json->count + 1, struct slice);
    size_t count = 0;
    users[count++] = signing->me;
    json_each (user, call->json)
        if (user_id_is_valid(user->key))
            users[count++] = user->key;
    enum fault fault = key_set_load(call, (struct slices){users, count}, signing->me, &signing->set);
    if (fault)
        return fault;
    signing->self_signing = public_key_of(signing, "self_signing");
    signing->user_signing = public_key_of(signing, "user_signing");
    return FAULT_OK;
}

struct reply signatures_upload(struct call *call)
{
    struct signing signing = {.call = call, .me = call->requester.user_id, .accepted = arena_new(call->arena, struct accepted)};
    size_t count = 0;
    json_each (user, call->json) {
        if (!json_is(user, JSON_OBJECT))
            return call_fail(call, FAULT_BAD_JSON, "The body must map users to ids to signed objects");
        count += user->count;
    }
    if (count > SIGNATURES_MAX / 2)
        return call_fail(call, FAULT_TOO_LARGE, "Too many signatures at once");
    enum fault fault = load(&signing);
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "failures");
    json_each (user, call->json) {
        bool open = false;
        json_each (object, user) {
            const char *errcode = take_object(&signing, user->key, object);
            if (!errcode)
                continue;
            if (!open) {
                json_key(&w, user->key);
                json_begin_object(&w);
            }
            open = true;
            write_failure(&w, object->key, errcode);
        }
        if (open)
            json_end_object(&w);
    }
    json_end_object(&w);
    json_end_object(&w);
    fault = store(&signing);
    return fault ? call_fail(call, fault, NULL) : reply_json(&w);
}
