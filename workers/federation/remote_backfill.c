/* message remote_backfill: earlier history of a room from its other servers, where ours has an edge. Edges that nobody fills are
 * left alone for a while, so that scrolling does not ask the same in vain each time. */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/uri.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/federation/gap_fetch.h"
#include "workers/federation/gate.h"
#include "workers/federation/peer.h"
#include "workers/federation/queries.h"
#include "workers/federation/room_access.h"

enum { SERVERS_TRIED = 3, EDGES_MAX = 20, UNREACHED_MS = 60 * 1000, UNFILLED_MS = 3600 * 1000 };

static struct slice backfill_uri(struct call *call, struct slice room_id, int64_t limit, struct slices edges)
{
    struct strbuf uri = strbuf_in(call->arena);
    strbuf_printf(&uri, "/_matrix/federation/v1/backfill/%.*s?limit=%lld", PRI(uri_encode(call->arena, room_id)), (long long)limit);
    for (size_t i = 0; i < edges.len; i++)
        strbuf_printf(&uri, "&v=%.*s", PRI(uri_encode(call->arena, edges.at[i])));
    return strbuf_slice(&uri);
}

/* History names auth events that we may never have seen: power levels of long ago, who joined and left. */
static enum fault fetch_auth_events(struct gap *gap, const struct checked_pdu *pdus, size_t count)
{
    struct map *wanted = map_create(gap->call->arena);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < pdus[i].event->auth_events.len; k++)
            map_put_i64(wanted, pdus[i].event->auth_events.at[k], 1);
    for (size_t i = 0; i < count; i++)
        map_remove(wanted, pdus[i].event->event_id); /* it is here */
    struct slice *ids = arena_new_array(gap->call->arena, map_count(wanted), struct slice), id;
    size_t id_count = 0;
    for (size_t at = 0; map_next_i64(wanted, &at, &id, NULL);)
        ids[id_count++] = id;
    enum fault fault = gap_fetch_events(gap, (struct slices){ids, id_count});
    return fault == FAULT_PEER ? FAULT_OK : fault; /* what needs them is left out, then */
}

static enum fault count_placed(struct call *call, struct slices event_ids, int64_t *count)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_placed_events(batch, event_ids);
    enum fault fault = db_run(batch);
    *count = fault ? 0 : db_affected(result);
    return fault;
}

/* *added: events that have a place only now. */
static enum fault take_history(struct gap *gap, const struct json *list, int64_t *added)
{
    struct call *call = gap->call;
    struct checked_pdu *pdus;
    size_t count;
    enum fault fault = pdus_check_history(call, gap->version, list, &pdus, &count);
    if (fault)
        return fault;
    gap_keep_and_sort(gap, pdus, &count);
    struct slice *texts = arena_new_array(call->arena, count, struct slice),
                 *ids = arena_new_array(call->arena, count, struct slice);
    for (size_t i = 0; i < count; i++) {
        texts[i] = pdus[i].text;
        ids[i] = pdus[i].event->event_id;
    }
    int64_t before, after;
    struct room_receive_request request = {.room_id = gap->room->room_id, .pdus = {texts, count}, .mode = RECEIVE_BACKFILL};
    struct room_receive_reply reply;
    if (count == 0 || (fault = count_placed(call, (struct slices){ids, count}, &before)) ||
        (fault = fetch_auth_events(gap, pdus, count)) || (fault = call_room_receive(call, request.room_id, &request, &reply)) ||
        (fault = count_placed(call, (struct slices){ids, count}, &after)))
        return fault;
    *added = after - before;
    return FAULT_OK;
}

static enum fault find_edges(struct call *call, int64_t room_nid, struct slices *out)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_history_edges(batch, room_nid, clock_wall_ms());
    enum fault fault = db_run(batch);
    struct slice *edges = arena_new_array(call->arena, EDGES_MAX, struct slice);
    size_t count = 0;
    struct history_edges_row row;
    while (!fault && count < EDGES_MAX && history_edges_next(result, &row))
        edges[count++] = row.event_id;
    *out = (struct slices){edges, count};
    return fault;
}

static void let_rest(struct call *call, const struct room_facts *room, struct slices edges, int64_t for_ms)
{
    struct room_edges_rest_request request = {.room_id = room->room_id, .event_ids = edges, .retry_ts = clock_wall_ms() + for_ms};
    struct room_edges_rest_reply reply;
    enum fault fault = call_room_edges_rest(call, room->room_id, &request, &reply);
    log_event(LOG_INFO, "history that nobody gives is left alone for a while", LOG_STR("room", room->room_id),
              LOG_I64("edges", (int64_t)edges.len), LOG_CSTR("fault", fault_facts(fault)->name));
}

enum fault answer_remote_backfill(struct call *call, const struct remote_backfill_request *request,
                                  struct remote_backfill_reply *reply)
{
    struct room_facts room;
    struct slices servers, edges;
    struct gate_place *gate;
    enum fault fault = room_find(call, request->room_id, &room);
    if (fault || (fault = room_servers(call, room.room_nid, &servers)) || (fault = find_edges(call, room.room_nid, &edges)) ||
        edges.len == 0 || (fault = gate_enter(call, GATE_OUTBOUND, &gate)))
        return fault;
    struct gap gap = {.call = call, .room = &room, .version = room_version_find(room.room_version), .servers = servers};
    struct slice uri = backfill_uri(call, request->room_id, request->limit, edges);
    bool answered = false;
    fault = FAULT_PEER;
    for (size_t i = 0, tried = 0; i < servers.len && tried < SERVERS_TRIED; i++) {
        struct peer_answer answer;
        if (slice_eq(servers.at[i], server_name()))
            continue;
        tried++;
        if ((fault = peer_ask(call, servers.at[i], "GET", uri, SLICE_ABSENT, &answer)))
            continue;
        answered = true;
        gap.server = call->origin = servers.at[i];
        if ((fault = take_history(&gap, json_get_array(answer.json, "pdus"), &reply->added)) || reply->added)
            return fault;
    }
    let_rest(call, &room, edges, answered ? UNFILLED_MS : UNREACHED_MS);
    return fault;
}
