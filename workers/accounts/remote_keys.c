/* Remote keys; see remote_keys.h. What a server says of a user is kept unless he changed something while we asked (device_list.pos
 * tells): then the answer serves this call only, and the next one asks again. */
#include "workers/accounts/remote_keys.h"

#include "lib/base/map.h"
#include "lib/matrix/ids.h"
#include "proto/stubs.h"
#include "workers/accounts/queries.h"

enum { ANSWER_BYTES_MAX = 16 * 1024 * 1024, DEVICES_MAX = 2000, TIMEOUT_MS = 10000, TIMEOUT_MS_MAX = 30000 };

const struct body_member body_timeout_member[] = {{"timeout", JSON_INT}, {NULL, JSON_NULL}};

int64_t body_timeout_ms(struct call *call)
{
    int64_t timeout = TIMEOUT_MS;
    json_get_i64(call->json, "timeout", &timeout);
    return timeout < 1000 ? 1000 : timeout > TIMEOUT_MS_MAX ? TIMEOUT_MS_MAX : timeout;
}

struct server_group *group_by_server(struct arena *arena, struct slices user_ids)
{
    struct map *known = map_create(arena);
    struct server_group *first = NULL, **last = &first;
    for (size_t i = 0; i < user_ids.len; i++) {
        struct slice server = id_server_name(user_ids.at[i]);
        struct server_group *group = map_get(known, server);
        if (!group) {
            group = arena_new(arena, struct server_group);
            *group = (struct server_group){.server = server, .members = arena_new_array(arena, user_ids.len - i, size_t)};
            map_put(known, server, group);
            *last = group;
            last = &group->next;
        }
        group->members[group->count++] = i;
    }
    return first;
}

struct bus_ticket *ask_server(struct call *call, struct slice server, const char *path, struct slice content, int64_t timeout_ms)
{
    struct fetch_request request = {.destination = server,
                                    .method = SLICE("POST"),
                                    .uri = slice_from_cstr(path),
                                    .sign = true,
                                    .timeout_ms = timeout_ms,
                                    .size_max = ANSWER_BYTES_MAX,
                                    .content = content};
    return call_fetch_send(call, server, &request);
}

struct asked {
    struct slices user_ids;
    bool *shared; /* by index of user */
    int64_t *seen_pos;
    size_t count;
};

/* Which users must be asked for? */
static enum fault choose(struct call *call, struct slices user_ids, struct asked *out)
{
    struct slice *users = arena_new_array(call->arena, user_ids.len, struct slice);
    *out = (struct asked){.shared = arena_new_array(call->arena, user_ids.len, bool),
                          .seen_pos = arena_new_array(call->arena, user_ids.len, int64_t)};
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_remote_lists(batch, user_ids, server_name());
    enum fault fault = db_run(batch);
    struct remote_lists_row row;
    while (!fault && remote_lists_next(result, &row)) {
        if (row.is_fresh)
            continue;
        users[out->count] = row.user_id;
        out->shared[out->count] = row.is_shared;
        out->seen_pos[out->count++] = row.pos;
    }
    out->user_ids = (struct slices){users, out->count};
    return fault;
}

static struct slice query_body(struct call *call, const struct asked *asked, const struct server_group *group)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "device_keys");
    for (size_t i = 0; i < group->count; i++) {
        json_key(&w, asked->user_ids.at[group->members[i]]);
        json_add_raw(&w, SLICE("[]"));
    }
    json_end_object(&w);
    json_end_object(&w);
    return json_done(&w);
}

static const struct json *object_of(const struct json *answer, const char *member, struct slice user_id)
{
    const struct json *found = json_get(json_get_object(answer, member), user_id);
    return json_is(found, JSON_OBJECT) ? found : NULL;
}

/* Is this device's entry about itself? Others are not passed on. */
static bool is_own(const struct json *keys, struct slice user_id)
{
    return slice_eq(json_get_string(keys, "user_id"), user_id) && slice_eq(json_get_string(keys, "device_id"), keys->key) &&
           !slice_has_nul(keys->key);
}

static enum fault keep(struct call *call, struct slice user_id, int64_t seen_pos, const struct json *devices,
                       const struct json *master, const struct json *self_signing)
{
    size_t most = devices ? devices->count : 0, count = 0;
    struct slice *ids = arena_new_array(call->arena, most + 1, struct slice),
                 *keys = arena_new_array(call->arena, most + 1, struct slice);
    json_each (device, devices) {
        ids[count] = device->key;
        keys[count++] = device->span;
    }
    struct db_batch *batch = call_batch(call);
    q_remote_list_cached(batch, user_id, seen_pos);
    q_remote_keys_clear(batch, user_id);
    q_remote_device_keys_insert(batch, user_id, (struct slices){ids, count}, (struct slices){keys, count});
    if (master)
        q_cross_signing_key_set(batch, user_id, SLICE("master"), master->span);
    if (self_signing)
        q_cross_signing_key_set(batch, user_id, SLICE("self_signing"), self_signing->span);
    enum fault fault = db_run(batch);
    return fault == FAULT_CONFLICT ? FAULT_OK : fault; /* changed meanwhile: not kept */
}

/* The devices that are what they say, as one object. NULL: the server knows no such user. */
static const struct json *own_devices(struct call *call, const struct json *devices, struct slice user_id)
{
    size_t count = 0;
    if (!devices)
        return NULL;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (device, devices) {
        if (!is_own(device, user_id) || ++count > DEVICES_MAX)
            continue;
        json_key(&w, device->key);
        json_add_value(&w, device);
    }
    json_end_object(&w);
    return json_parse(call->arena, json_done(&w), JSON_LAX, NULL);
}

static enum fault take_answer(struct call *call, struct key_set *set, const struct asked *asked, const struct server_group *group,
                              const struct json *answer)
{
    enum fault fault = FAULT_OK;
    for (size_t i = 0; i < group->count && !fault; i++) {
        size_t at = group->members[i];
        struct slice user_id = asked->user_ids.at[at];
        const struct json *devices = own_devices(call, object_of(answer, "device_keys", user_id), user_id);
        const struct json *master = object_of(answer, "master_keys", user_id);
        const struct json *self_signing = object_of(answer, "self_signing_keys", user_id);
        key_set_put(set, user_id, devices, master, self_signing);
        if (asked->shared[at])
            fault = keep(call, user_id, asked->seen_pos[at], devices, master, self_signing);
    }
    return fault;
}

enum fault remote_keys_refresh(struct call *call, struct key_set *set, struct slices user_ids, int64_t timeout_ms,
                               struct slices *failed)
{
    struct asked asked;
    *failed = (struct slices){NULL, 0};
    if (user_ids.len == 0)
        return FAULT_OK;
    enum fault fault = choose(call, user_ids, &asked);
    if (fault || asked.count == 0)
        return fault;
    struct server_group *groups = group_by_server(call->arena, asked.user_ids);
    struct slice *servers = arena_new_array(call->arena, asked.count, struct slice);
    size_t failures = 0;
    for (struct server_group *group = groups; group; group = group->next)
        group->ticket =
            ask_server(call, group->server, "/_matrix/federation/v1/user/keys/query", query_body(call, &asked, group), timeout_ms);
    for (struct server_group *group = groups; group; group = group->next) {
        struct fetch_reply reply;
        const struct json *answer = NULL;
        if (call_bus_wait(call, group->ticket, &reply) == FAULT_OK && reply.status == 200)
            answer = json_parse(call->arena, reply.body, JSON_LAX, NULL);
        if (!json_get_object(answer, "device_keys")) {
            servers[failures++] = group->server;
            for (size_t i = 0; i < group->count; i++) /* what we had is out of date */
                key_set_put(set, asked.user_ids.at[group->members[i]], NULL, NULL, NULL);
        } else if ((fault = take_answer(call, set, &asked, group, answer))) {
            return fault;
        }
    }
    *failed = (struct slices){servers, failures};
    return FAULT_OK;
}
