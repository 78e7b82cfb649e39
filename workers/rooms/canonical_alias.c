/* PUT …/state/m.room.canonical_alias (Client-Server API "m.room.canonical_alias"): each new alias must lead to this room. Ours are
 * rows here; those of others are asked of their servers, all at once, for users who may set it at all: not in `events`, which never
 * waits for another server. */
#include "lib/base/clock.h"
#include "lib/base/uri.h"
#include "lib/matrix/ids.h"
#include "lib/store/room_read.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/alias.h"
#include "workers/rooms/queries.h"
#include "workers/rooms/state_put.h"

enum { NEW_MAX = 10, WAIT_MS = 5000 };

static bool lists(const struct json *content, struct slice alias)
{
    if (slice_eq(json_get_string(content, "alias"), alias))
        return true;
    json_each (entry, json_get_array(content, "alt_aliases"))
        if (json_is(entry, JSON_STRING) && slice_eq(entry->text, alias))
            return true;
    return false;
}

struct fresh {
    struct slice aliases[NEW_MAX];
    size_t count;
};

/* Those that the standing event does not list. */
static enum fault add_fresh(struct fresh *fresh, const struct json *standing, const struct json *alias)
{
    if (!json_is(alias, JSON_STRING))
        return FAULT_BAD_JSON;
    if (lists(standing, alias->text))
        return FAULT_OK;
    for (size_t i = 0; i < fresh->count; i++)
        if (slice_eq(fresh->aliases[i], alias->text))
            return FAULT_OK;
    if (slice_has_nul(alias->text) || !room_alias_is_valid(alias->text) || fresh->count == NEW_MAX)
        return FAULT_INVALID_PARAM;
    fresh->aliases[fresh->count++] = alias->text;
    return FAULT_OK;
}

static enum fault find_fresh(struct call *call, const struct json *standing, struct fresh *fresh)
{
    const struct json *alias = json_get_cstr(call->json, "alias"), *others = json_get_cstr(call->json, "alt_aliases");
    fresh->count = 0;
    if (others && !json_is(others, JSON_ARRAY))
        return FAULT_BAD_JSON;
    bool is_empty = !alias || json_is(alias, JSON_NULL) || (json_is(alias, JSON_STRING) && alias->text.len == 0);
    enum fault fault = is_empty ? FAULT_OK : add_fresh(fresh, standing, alias);
    json_each (entry, others)
        fault = fault ? fault : add_fresh(fresh, standing, entry);
    return fault;
}

static struct bus_ticket *ask(struct call *call, struct slice alias)
{
    struct fetch_request request = {.destination = id_server_name(alias),
                                    .method = SLICE("GET"),
                                    .uri = arena_printf(call->arena, "/_matrix/federation/v1/query/directory?room_alias=%.*s",
                                                        PRI(uri_encode(call->arena, alias))),
                                    .sign = true,
                                    .timeout_ms = WAIT_MS,
                                    .size_max = 1 << 20};
    return call_fetch_send(call, request.destination, &request);
}

/* BAD_ALIAS unless all of them lead to the room. A server that does not answer leaves its alias unproven: that is a bad one, too.
 */
static enum fault check(struct call *call, struct slice room_id, const struct fresh *fresh)
{
    struct bus_ticket *tickets[NEW_MAX] = {NULL};
    int64_t deadline_ms = call->deadline_ms, soon_ms = clock_monotonic_ms() + WAIT_MS;
    call->deadline_ms = soon_ms < deadline_ms ? soon_ms : deadline_ms;
    for (size_t i = 0; i < fresh->count; i++)
        if (!slice_eq(id_server_name(fresh->aliases[i]), server_name()))
            tickets[i] = ask(call, fresh->aliases[i]);
    call->deadline_ms = deadline_ms;
    for (size_t i = 0; i < fresh->count; i++) {
        struct slice found = SLICE_ABSENT;
        struct slices servers;
        struct fetch_reply reply;
        enum fault fault =
            tickets[i] ? call_bus_wait(call, tickets[i], &reply) : alias_resolve(call, fresh->aliases[i], &found, &servers);
        if (!fault && tickets[i] && reply.status == 200)
            found = json_get_string(json_parse(call->arena, reply.body, JSON_LAX, NULL), "room_id");
        if (fault && fault != FAULT_PEER && fault != FAULT_DEADLINE && fault != FAULT_NOT_FOUND)
            return fault;
        if (fault || !slice_eq(found, room_id))
            return FAULT_BAD_ALIAS;
    }
    return FAULT_OK;
}

struct reply set_canonical_alias(struct call *call)
{
    struct room_facts room;
    struct event_row row;
    struct fresh fresh;
    bool may = false;
    enum fault fault = room_find(call, call_param(call, "roomId"), &room);
    if (!fault)
        fault = alias_may_be_canonical(call, &room, &may);
    if (fault && fault != FAULT_NOT_FOUND)
        return call_fail(call, fault, NULL);
    if (!may)
        return call_fail(call, FAULT_FORBIDDEN, "You may not set this room's canonical alias");
    fault = current_state_event(call, room.room_nid, "m.room.canonical_alias", SLICE(""), &row);
    if (fault && fault != FAULT_NOT_FOUND)
        return call_fail(call, fault, NULL);
    const struct json *standing = fault ? NULL : event_row_parse(call->arena, &row)->content;
    if ((fault = find_fresh(call, standing, &fresh)))
        return call_fail(call, fault,
                         fault == FAULT_INVALID_PARAM ? "An alias is not valid, or there are more than ten new ones" : NULL);
    if ((fault = check(call, room.room_id, &fresh)))
        return call_fail(call, fault, NULL);
    return state_put(call, "m.room.canonical_alias", SLICE(""), call->json->span);
}
