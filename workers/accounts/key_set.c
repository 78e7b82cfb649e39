/* Keys of users; see key_set.h. */
#include "workers/accounts/key_set.h"

#include "lib/base/map.h"
#include "workers/accounts/key_merge.h"
#include "workers/accounts/queries.h"

struct key_user {
    struct key_device *devices, **last;
    struct map *cross_signing; /* usage → struct slice * */
    struct map *signatures;    /* device id or public key → struct key_signature * */
};
struct key_set {
    struct arena *arena;
    struct map *users;
};

static struct key_user *user_of(struct key_set *set, struct slice user_id)
{
    struct key_user *user = map_get(set->users, user_id);
    if (user)
        return user;
    user = arena_new(set->arena, struct key_user);
    user->last = &user->devices;
    user->cross_signing = map_create(set->arena);
    user->signatures = map_create(set->arena);
    map_put(set->users, user_id, user);
    return user;
}

static void add_device(struct key_set *set, struct key_user *user, struct slice id, struct slice keys, struct slice name)
{
    struct key_device *device = arena_new(set->arena, struct key_device);
    *device = (struct key_device){id, keys, name, NULL};
    *user->last = device;
    user->last = &device->next;
}

static void add_cross_signing(struct key_set *set, struct key_user *user, struct slice usage, struct slice key)
{
    struct slice *kept = arena_new(set->arena, struct slice);
    *kept = key;
    map_put(user->cross_signing, usage, kept);
}

static void add_signature(struct key_set *set, const struct signatures_of_row *row)
{
    struct key_user *user = user_of(set, row->target_user_id);
    struct key_signature *signature = arena_new(set->arena, struct key_signature);
    *signature =
        (struct key_signature){row->signer_user_id, row->signer_key_id, row->signature, map_get(user->signatures, row->target_id)};
    map_put(user->signatures, row->target_id, signature);
}

enum fault key_set_load(struct call *call, struct slices user_ids, struct slice viewer, struct key_set **out)
{
    struct key_set *set = arena_new(call->arena, struct key_set);
    *set = (struct key_set){call->arena, map_create(call->arena)};
    struct db_batch *batch = call_batch(call);
    struct db_result *devices = q_device_keys_of(batch, user_ids);
    struct db_result *cross_signing = q_cross_signing_keys_of(batch, user_ids);
    struct db_result *signatures = q_signatures_of(batch, user_ids, viewer);
    enum fault fault = user_ids.len ? db_run(batch) : FAULT_OK;
    if (fault)
        return fault;
    *out = set;
    if (!user_ids.len)
        return FAULT_OK;
    struct device_keys_of_row device;
    while (device_keys_of_next(devices, &device))
        add_device(set, user_of(set, device.user_id), device.device_id, device.keys, device.display_name);
    struct cross_signing_keys_of_row key;
    while (cross_signing_keys_of_next(cross_signing, &key))
        add_cross_signing(set, user_of(set, key.user_id), key.usage, key.key);
    struct signatures_of_row signature;
    while (signatures_of_next(signatures, &signature))
        add_signature(set, &signature);
    return FAULT_OK;
}

void key_set_put(struct key_set *set, struct slice user_id, const struct json *devices, const struct json *master,
                 const struct json *self_signing)
{
    struct key_user *user = user_of(set, user_id);
    user->devices = NULL;
    user->last = &user->devices;
    user->cross_signing = map_create(set->arena);
    json_each (device, devices)
        add_device(set, user, device->key, device->span, SLICE_ABSENT);
    if (master)
        add_cross_signing(set, user, SLICE("master"), master->span);
    if (self_signing)
        add_cross_signing(set, user, SLICE("self_signing"), self_signing->span);
}

const struct key_device *key_set_devices(struct key_set *set, struct slice user_id)
{
    const struct key_user *user = map_get(set->users, user_id);
    return user ? user->devices : NULL;
}

static struct slice merged(struct key_set *set, const struct key_user *user, const struct key_device *device)
{
    return key_merge(set->arena, device->keys, map_get(user->signatures, device->device_id), device->display_name);
}

struct slice key_set_device(struct key_set *set, struct slice user_id, struct slice device_id)
{
    const struct key_user *user = map_get(set->users, user_id);
    for (const struct key_device *device = user ? user->devices : NULL; device; device = device->next)
        if (slice_eq(device->device_id, device_id))
            return merged(set, user, device);
    return SLICE_ABSENT;
}

struct slice key_set_cross_signing(struct key_set *set, struct slice user_id, const char *usage)
{
    const struct key_user *user = map_get(set->users, user_id);
    const struct slice *key = user ? map_get(user->cross_signing, slice_from_cstr(usage)) : NULL;
    if (!key)
        return SLICE_ABSENT;
    struct slice public_key = cross_signing_public_key(json_parse(set->arena, *key, JSON_LAX, NULL));
    const struct key_signature *added = slice_is_absent(public_key) ? NULL : map_get(user->signatures, public_key);
    return key_merge(set->arena, *key, added, SLICE_ABSENT);
}

static bool is_wanted(const struct json *wanted, struct slice device_id)
{
    if (!wanted || wanted->count == 0)
        return true;
    json_each (item, wanted)
        if (slice_eq(json_string(item), device_id))
            return true;
    return false;
}

void key_set_write_devices(struct key_set *set, struct json_writer *w, struct slice user_id, const struct json *wanted)
{
    const struct key_user *user = map_get(set->users, user_id);
    json_begin_object(w);
    for (const struct key_device *device = user ? user->devices : NULL; device; device = device->next) {
        struct slice keys = is_wanted(wanted, device->device_id) ? merged(set, user, device) : SLICE_ABSENT;
        if (slice_is_absent(keys))
            continue;
        json_key(w, device->device_id);
        json_add_raw(w, keys);
    }
    json_end_object(w);
}
