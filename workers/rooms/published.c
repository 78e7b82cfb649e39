/* The published room directory (Client-Server API "Published room directory", Server-Server API "Published Room Directory"). */
#include "lib/base/clock.h"
#include "lib/base/uri.h"
#include "lib/matrix/auth_rules.h"
#include "lib/matrix/ids.h"
#include "lib/store/room_read.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/rooms/queries.h"

enum { PAGE_DEFAULT = 100, PAGE_MAX = 500 };

struct reply room_visibility(struct call *call)
{
    struct slice room_id = call_param(call, "roomId");
    struct room_facts room;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_is_published(batch, room_id);
    enum fault fault = db_run(batch);
    struct is_published_row row;
    if (!fault)
        fault = room_find(call, room_id, &room);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such room");
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "visibility", is_published_next(result, &row) && row.published ? "public" : "private");
    json_end_object(&w);
    return reply_json(&w);
}

/* May the requester speak for the room in the directory? As for its canonical alias. */
static enum fault may_publish(struct call *call, const struct room_facts *room, bool *may)
{
    struct membership_row membership;
    struct event_rows state;
    *may = call->requester.is_admin;
    if (*may)
        return FAULT_OK;
    enum fault fault = membership_find(call, room->room_nid, call->requester.user_id, &membership);
    if (fault || !slice_eq(membership.membership, SLICE("join")))
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    if ((fault = current_state_events(call, room->room_nid, &state)))
        return fault;
    const struct event *events[2];
    size_t count = 0;
    for (size_t i = 0; i < state.count && count < 2; i++)
        if (state.at[i].state_key.len == 0 &&
            (slice_eq(state.at[i].type, SLICE("m.room.create")) || slice_eq(state.at[i].type, SLICE("m.room.power_levels"))))
            events[count++] = event_row_parse(call->arena, &state.at[i]);
    struct event_list_view list = event_list_view(events, count);
    struct power_levels levels = power_levels_from(&list.view, room_version_find(room->room_version));
    *may = power_of_user(&levels, call->requester.user_id) >= power_to_send(&levels, SLICE("m.room.canonical_alias"), true);
    return FAULT_OK;
}

struct reply set_room_visibility(struct call *call)
{
    const struct json *value = json_get_cstr(call->json, "visibility");
    struct slice visibility = value ? json_string(value) : SLICE("public");
    bool publish = slice_eq(visibility, SLICE("public")), may;
    struct room_facts room;
    if (!publish && !slice_eq(visibility, SLICE("private")))
        return call_fail(call, FAULT_BAD_JSON, "visibility must be public or private");
    enum fault fault = room_find(call, call_param(call, "roomId"), &room);
    if (fault == FAULT_NOT_FOUND)
        return call_fail(call, fault, "No such room");
    if (fault || (fault = may_publish(call, &room, &may)))
        return call_fail(call, fault, NULL);
    if (!may || (publish && !worker_settings(call->worker)->room_list_publication && !call->requester.is_admin))
        return call_fail(call, FAULT_FORBIDDEN, "You may not change this room's visibility");
    struct db_batch *batch = call_batch(call);
    if (publish)
        q_publish_room(batch, room.room_id, clock_wall_ms());
    else
        q_unpublish_room(batch, room.room_id);
    fault = db_run(batch);
    return fault ? call_fail(call, fault, NULL) : reply_empty();
}

struct search {
    struct slice term, room_type; /* room_type: absent: any; empty: rooms without a type */
    bool by_type;
    int64_t limit, offset;
};

static bool row_matches(struct call *call, const struct published_rooms_row *row, const struct search *search)
{
    if (search->by_type) {
        struct slice type =
            json_get_string(json_get_object(json_parse(call->arena, row->create_json, JSON_LAX, NULL), "content"), "type");
        if (!slice_eq(slice_is_absent(type) ? SLICE("") : type, search->room_type))
            return false;
    }
    return true;
}

static struct slice content_string(struct call *call, struct slice event_json, const char *key)
{
    return slice_is_absent(event_json)
               ? SLICE_ABSENT
               : json_get_string(json_get_object(json_parse(call->arena, event_json, JSON_LAX, NULL), "content"), key);
}

static bool contains(struct slice text, struct slice term)
{
    if (term.len == 0)
        return true;
    for (size_t i = 0; i + term.len <= text.len; i++)
        if (slice_eq_ignoring_case(slice_sub(text, i, term.len), term))
            return true;
    return false;
}

static void write_room(struct call *call, struct json_writer *w, const struct published_rooms_row *row)
{
    struct slice join_rule = content_string(call, row->join_rules_json, "join_rule");
    json_begin_object(w);
    json_put_string(w, "room_id", row->room_id);
    json_put_i64(w, "num_joined_members", row->joined);
    json_put_string(w, "name", content_string(call, row->name_json, "name"));
    json_put_string(w, "topic", content_string(call, row->topic_json, "topic"));
    json_put_string(w, "canonical_alias", content_string(call, row->alias_json, "alias"));
    json_put_string(w, "avatar_url", content_string(call, row->avatar_json, "url"));
    json_put_string(w, "room_type", content_string(call, row->create_json, "type"));
    json_put_string(w, "join_rule", slice_is_absent(join_rule) ? SLICE("invite") : join_rule);
    json_put_bool(w, "world_readable",
                  slice_eq(content_string(call, row->visibility_json, "history_visibility"), SLICE("world_readable")));
    json_put_bool(w, "guest_can_join", slice_eq(content_string(call, row->guest_json, "guest_access"), SLICE("can_join")));
    json_end_object(w);
}

/* Largest rooms first. The directory of one server is small enough to be read whole; the offset is the token. */
static struct reply list_rooms(struct call *call, const struct search *search)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_published_rooms(batch);
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_array(&w, "chunk");
    struct published_rooms_row row;
    int64_t total = 0, shown = 0;
    while (published_rooms_next(result, &row)) {
        if (!row_matches(call, &row, search) || !(contains(content_string(call, row.name_json, "name"), search->term) ||
                                                  contains(content_string(call, row.topic_json, "topic"), search->term) ||
                                                  contains(content_string(call, row.alias_json, "alias"), search->term)))
            continue;
        total++;
        if (total <= search->offset || shown >= search->limit)
            continue;
        shown++;
        write_room(call, &w, &row);
    }
    json_end_array(&w);
    json_put_i64(&w, "total_room_count_estimate", total);
    if (search->offset + shown < total && shown)
        json_put_string(&w, "next_batch", arena_printf(call->arena, "o%lld", (long long)(search->offset + shown)));
    if (search->offset > 0)
        json_put_string(
            &w, "prev_batch",
            arena_printf(call->arena, "o%lld", (long long)(search->offset > search->limit ? search->offset - search->limit : 0)));
    json_end_object(&w);
    return reply_json(&w);
}

static bool take_page(struct call *call, struct search *search, struct slice since, struct reply *answer)
{
    if (search->limit < 1 || search->limit > PAGE_MAX)
        search->limit = search->limit < 1 ? 1 : PAGE_MAX;
    if (slice_is_absent(since) || since.len == 0)
        return true;
    if (since.at[0] == 'o' && slice_to_i64(slice_sub(since, 1, since.len), &search->offset) && search->offset >= 0)
        return true;
    *answer = call_fail(call, FAULT_INVALID_PARAM, "since is not a token of ours");
    return false;
}

/* ?server=: another server's directory */
static struct reply list_remote(struct call *call, struct slice server)
{
    if (!server_name_is_valid(server))
        return call_fail(call, FAULT_INVALID_PARAM, "server is not a server name");
    bool search = call->route->method == METHOD_POST;
    struct slice query = slice_is_absent(call->http->query) ? SLICE("") : call->http->query;
    struct fetch_request request = {
        .destination = server,
        .method = search ? SLICE("POST") : SLICE("GET"),
        .uri = arena_printf(call->arena, "/_matrix/federation/v1/publicRooms?%.*s", PRI(search ? SLICE("") : query)),
        .sign = true,
        .ignore_backoff = true,
        .content = search ? call->json->span : SLICE_ABSENT};
    struct fetch_reply reply;
    enum fault fault = call_fetch(call, server, &request, &reply);
    if (fault)
        return call_fail(call, fault, "The other server's directory could not be read");
    if (reply.status != 200)
        return call_fail_peer(call, reply.status, reply.body);
    const struct json *answer = json_parse(call->arena, reply.body, JSON_LAX, NULL);
    return json_is(answer, JSON_OBJECT) ? reply_raw_json(answer->span) : call_fail(call, FAULT_PEER_REFUSED, NULL);
}

static bool is_remote(struct call *call, struct slice *server)
{
    *server = call_query(call, "server");
    return !slice_is_absent(*server) && server->len && !slice_eq(*server, server_name());
}

struct reply public_rooms(struct call *call)
{
    struct search search = {.limit = PAGE_DEFAULT};
    struct slice server;
    struct reply answer;
    if (is_remote(call, &server))
        return list_remote(call, server);
    if (!call_query_i64(call, "limit", &search.limit))
        return call_fail(call, FAULT_INVALID_PARAM, "limit must be a number");
    return take_page(call, &search, call_query(call, "since"), &answer) ? list_rooms(call, &search) : answer;
}

static struct reply search_body(struct call *call)
{
    static const struct body_member members[] = {{"limit", JSON_INT},
                                                 {"since", JSON_STRING},
                                                 {"filter", JSON_OBJECT},
                                                 {"include_all_networks", JSON_BOOL},
                                                 {"third_party_instance_id", JSON_STRING},
                                                 {NULL, JSON_NULL}},
                                    of_filter[] = {
                                        {"generic_search_term", JSON_STRING}, {"room_types", JSON_ARRAY}, {NULL, JSON_NULL}};
    struct search search = {.limit = PAGE_DEFAULT};
    struct reply answer;
    const struct json *filter = json_get_object(call->json, "filter"), *types = json_get_array(filter, "room_types");
    if (!call_members_fit(call, call->json, members, &answer) || !call_members_fit(call, filter, of_filter, &answer))
        return answer;
    json_get_i64(call->json, "limit", &search.limit);
    search.term = json_get_string(filter, "generic_search_term");
    if (types && types->count == 1) {
        search.by_type = true;
        search.room_type = json_is(types->first, JSON_NULL) ? SLICE("") : json_string(types->first);
    }
    return take_page(call, &search, json_get_string(call->json, "since"), &answer) ? list_rooms(call, &search) : answer;
}

struct reply public_rooms_search(struct call *call)
{
    struct slice server;
    return is_remote(call, &server) ? list_remote(call, server) : search_body(call);
}

struct reply federation_public_rooms(struct call *call)
{
    if (!worker_settings(call->worker)->allow_public_rooms_over_federation)
        return call_fail(call, FAULT_FORBIDDEN, "This server does not show its directory to others");
    if (call->route->method == METHOD_POST)
        return search_body(call);
    struct search search = {.limit = PAGE_DEFAULT};
    struct reply answer;
    if (!call_query_i64(call, "limit", &search.limit))
        return call_fail(call, FAULT_INVALID_PARAM, "limit must be a number");
    return take_page(call, &search, call_query(call, "since"), &answer) ? list_rooms(call, &search) : answer;
}
