/* Sorting EDUs; see edus.h. */
#include "workers/federation/edus.h"

#include "lib/base/log.h"
#include "proto/stubs.h"

enum edu_owner { OWNER_NONE, OWNER_SYNC, OWNER_ACCOUNTS };
static const struct {
    const char *type;
    enum edu_owner owner;
} owners[] = {
    {"m.typing", OWNER_SYNC},
    {"m.receipt", OWNER_SYNC},
    {"m.presence", OWNER_SYNC},
    {"m.direct_to_device", OWNER_ACCOUNTS},
    {"m.device_list_update", OWNER_ACCOUNTS},
    {"m.signing_key_update", OWNER_ACCOUNTS},
};

static enum edu_owner owner_of(struct slice type)
{
    for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++)
        if (slice_eq(type, slice_from_cstr(owners[i].type)))
            return owners[i].owner;
    return OWNER_NONE;
}

static enum fault room_allows(struct call *call, struct map *seen, struct slice room_id, bool *allowed)
{
    const struct room_standing *standing;
    enum fault fault = room_standing_get(call, seen, room_id, call->origin, &standing);
    *allowed = !fault && standing->is_allowed;
    return fault;
}

/* m.typing names one room; m.receipt is keyed by room: the forbidden ones are left out. Absent: nothing is left. */
static enum fault filtered(struct call *call, struct map *seen, struct slice type, const struct json *content, struct slice *out)
{
    bool allowed = true;
    *out = content->span;
    if (slice_eq(type, SLICE("m.typing"))) {
        enum fault fault = room_allows(call, seen, json_get_string(content, "room_id"), &allowed);
        if (!allowed)
            *out = SLICE_ABSENT;
        return fault;
    }
    if (!slice_eq(type, SLICE("m.receipt")))
        return FAULT_OK;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (room, content) {
        enum fault fault = room_allows(call, seen, room->key, &allowed);
        if (fault)
            return fault;
        if (!allowed)
            continue;
        json_key(&w, room->key);
        json_add_value(&w, room);
    }
    json_end_object(&w);
    *out = json_done(&w);
    return FAULT_OK;
}

struct edu_batch {
    struct slice types[EDUS_MAX], contents[EDUS_MAX];
    size_t count;
};

static enum fault hand_over(struct call *call, enum edu_owner owner, struct slices types, struct slices contents)
{
    if (owner == OWNER_SYNC) {
        struct sync_receive_edus_request request = {.origin = call->origin, .types = types, .contents = contents};
        struct sync_receive_edus_reply reply;
        return call_sync_receive_edus(call, call->origin, &request, &reply);
    }
    struct accounts_receive_edus_request request = {.origin = call->origin, .types = types, .contents = contents};
    struct accounts_receive_edus_reply reply;
    return call_accounts_receive_edus(call, call->origin, &request, &reply);
}

/* All at once; when the owner does not like something of it, one by one, to find out what. */
static enum fault pass_batch(struct call *call, enum edu_owner owner, const struct edu_batch *batch)
{
    if (batch->count == 0)
        return FAULT_OK;
    enum fault fault =
        hand_over(call, owner, (struct slices){batch->types, batch->count}, (struct slices){batch->contents, batch->count});
    if (!fault || fault_facts(fault)->retryable)
        return fault;
    for (size_t i = 0; i < batch->count; i++) {
        fault = hand_over(call, owner, (struct slices){&batch->types[i], 1}, (struct slices){&batch->contents[i], 1});
        if (fault_facts(fault)->retryable)
            return fault;
        if (fault)
            log_event(LOG_INFO, "an EDU is left out", LOG_STR("origin", call->origin), LOG_STR("type", batch->types[i]),
                      LOG_CSTR("why", fault_facts(fault)->name));
    }
    return FAULT_OK;
}

enum fault edus_pass_on(struct call *call, struct map *seen, const struct json *edus)
{
    struct edu_batch *to_sync = arena_new(call->arena, struct edu_batch), *to_accounts = arena_new(call->arena, struct edu_batch);
    json_each (edu, edus) {
        struct slice type = json_get_string(edu, "edu_type"), content;
        const struct json *object = json_get_object(edu, "content");
        enum edu_owner owner = owner_of(type);
        struct edu_batch *batch = owner == OWNER_SYNC ? to_sync : to_accounts;
        if (!object || owner == OWNER_NONE || batch->count == EDUS_MAX)
            continue;
        enum fault fault = filtered(call, seen, type, object, &content);
        if (fault)
            return fault;
        if (slice_is_absent(content))
            continue;
        batch->types[batch->count] = type;
        batch->contents[batch->count++] = content;
    }
    enum fault fault = pass_batch(call, OWNER_SYNC, to_sync);
    return fault ? fault : pass_batch(call, OWNER_ACCOUNTS, to_accounts);
}
