/* See canonical_alias.h. Our aliases are rows that `rooms` writes; those of others are asked of their server. */
#include "workers/events/canonical_alias.h"

#include "lib/base/uri.h"
#include "lib/matrix/ids.h"
#include "proto/stubs.h"
#include "workers/events/hot_room.h"
#include "workers/events/queries.h"

static enum fault room_of_ours(struct call *call, struct slice alias, struct slice *room_id)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_alias_room(batch, alias);
    enum fault fault = db_run(batch);
    struct alias_room_row row;
    if (!fault)
        *room_id = alias_room_next(result, &row) ? row.room_id : SLICE_ABSENT;
    return fault;
}

/* A server that does not answer leaves the alias unproven: that is a bad one, too. */
static enum fault room_of_theirs(struct call *call, struct slice alias, struct slice *room_id)
{
    struct fetch_request request = {.destination = id_server_name(alias),
                                    .method = SLICE("GET"),
                                    .uri = arena_printf(call->arena, "/_matrix/federation/v1/query/directory?room_alias=%.*s",
                                                        PRI(uri_encode(call->arena, alias))),
                                    .sign = true};
    struct fetch_reply reply;
    *room_id = SLICE_ABSENT;
    enum fault fault = call_fetch(call, request.destination, &request, &reply);
    if (fault == FAULT_PEER || fault == FAULT_DEADLINE)
        return FAULT_OK;
    if (!fault && reply.status == 200)
        *room_id = json_get_string(json_parse(call->arena, reply.body, JSON_LAX, NULL), "room_id");
    return fault;
}

static enum fault check_one(struct call *call, struct slice room_id, struct slice alias)
{
    struct slice found;
    if (slice_has_nul(alias) || !room_alias_is_valid(alias))
        return FAULT_INVALID_PARAM;
    bool is_ours = slice_eq(id_server_name(alias), server_name());
    enum fault fault = is_ours ? room_of_ours(call, alias, &found) : room_of_theirs(call, alias, &found);
    if (fault)
        return fault;
    return slice_eq(found, room_id) ? FAULT_OK : FAULT_BAD_ALIAS;
}

static bool lists(const struct json *content, struct slice alias)
{
    if (slice_eq(json_get_string(content, "alias"), alias))
        return true;
    json_each (entry, json_get_array(content, "alt_aliases"))
        if (json_is(entry, JSON_STRING) && slice_eq(entry->text, alias))
            return true;
    return false;
}

enum fault canonical_alias_check(struct call *call, struct slice room_id, const struct json *content)
{
    const struct state_need need = {"m.room.canonical_alias", SLICE("")};
    struct hot_room *room;
    struct event *standing;
    enum fault fault;
    const struct json *alias = json_get_cstr(content, "alias"), *others = json_get_cstr(content, "alt_aliases");
    if ((alias && !json_is(alias, JSON_STRING) && !json_is(alias, JSON_NULL)) || (others && !json_is(others, JSON_ARRAY)))
        return FAULT_BAD_JSON;
    if ((fault = hot_room_get(call, room_id, &room)) ||
        (fault = room_state_needed(call, room, room->state->map, &need, 1, &standing, NULL)))
        return fault;
    const struct json *before = standing ? standing->content : NULL;
    if (json_is(alias, JSON_STRING) && alias->text.len && !lists(before, alias->text) &&
        (fault = check_one(call, room_id, alias->text)))
        return fault;
    json_each (entry, others) {
        if (!json_is(entry, JSON_STRING))
            return FAULT_BAD_JSON;
        if (!lists(before, entry->text) && (fault = check_one(call, room_id, entry->text)))
            return fault;
    }
    return FAULT_OK;
}
