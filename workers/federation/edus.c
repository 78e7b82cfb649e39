/* Sorting EDUs; see edus.h. */
#include "workers/federation/edus.h"

#include "lib/matrix/ids.h"
#include "proto/stubs.h"
#include "workers/federation/room_access.h"

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

static enum fault room_allows(struct call *call, struct slice room_id, struct slice origin, bool *allowed)
{
    struct room_facts room;
    *allowed = false;
    if (!room_id_is_valid(room_id) || slice_has_nul(room_id))
        return FAULT_OK; /* nonsense in one EDU must not cost the transaction */
    enum fault fault = room_find(call, room_id, &room);
    if (fault == FAULT_NOT_FOUND)
        return FAULT_OK;
    return fault ? fault : acl_allows(call, room.room_nid, origin, allowed);
}

/* m.typing names one room; m.receipt is keyed by room: the forbidden ones are left out. Absent: nothing is left. */
static enum fault filtered(struct call *call, struct slice type, const struct json *content, struct slice origin, struct slice *out)
{
    bool allowed = true;
    *out = content->span;
    if (slice_eq(type, SLICE("m.typing"))) {
        enum fault fault = room_allows(call, json_get_string(content, "room_id"), origin, &allowed);
        if (!allowed)
            *out = SLICE_ABSENT;
        return fault;
    }
    if (!slice_eq(type, SLICE("m.receipt")))
        return FAULT_OK;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (room, content) {
        enum fault fault = room_allows(call, room->key, origin, &allowed);
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

enum fault edus_pass_on(struct call *call, struct slice origin, const struct json *edus)
{
    struct slice types[2][EDUS_MAX], contents[2][EDUS_MAX];
    size_t counts[2] = {0, 0};
    json_each (edu, edus) {
        struct slice type = json_get_string(edu, "edu_type"), content;
        const struct json *object = json_get_object(edu, "content");
        enum edu_owner owner = owner_of(type);
        if (!object || owner == OWNER_NONE)
            continue;
        enum fault fault = filtered(call, type, object, origin, &content);
        if (fault)
            return fault;
        size_t list = owner == OWNER_SYNC ? 0 : 1;
        if (slice_is_absent(content) || counts[list] == EDUS_MAX)
            continue;
        types[list][counts[list]] = type;
        contents[list][counts[list]++] = content;
    }
    if (counts[0]) {
        struct sync_receive_edus_request request = {
            .origin = origin, .types = {types[0], counts[0]}, .contents = {contents[0], counts[0]}};
        struct sync_receive_edus_reply reply;
        enum fault fault = call_sync_receive_edus(call, origin, &request, &reply);
        if (fault)
            return fault;
    }
    if (counts[1]) {
        struct accounts_receive_edus_request request = {
            .origin = origin, .types = {types[1], counts[1]}, .contents = {contents[1], counts[1]}};
        struct accounts_receive_edus_reply reply;
        enum fault fault = call_accounts_receive_edus(call, origin, &request, &reply);
        if (fault)
            return fault;
    }
    return FAULT_OK;
}
