/* message remote_backfill: earlier history of a room from its other servers, where ours has an edge. */
#include "lib/base/uri.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/federation/gate.h"
#include "workers/federation/pdu_check.h"
#include "workers/federation/peer.h"
#include "workers/federation/queries.h"
#include "workers/federation/room_access.h"

#include <stdlib.h>

enum { SERVERS_TRIED = 3, EDGES_MAX = 20 };

static int by_depth(const void *left, const void *right)
{
    const struct checked_pdu *a = left, *b = right;
    return (a->event->depth > b->event->depth) - (a->event->depth < b->event->depth);
}

static struct slice backfill_uri(struct call *call, struct slice room_id, int64_t limit, struct db_result *edges)
{
    struct strbuf uri = strbuf_in(call->arena);
    struct history_edges_row row;
    strbuf_printf(&uri, "/_matrix/federation/v1/backfill/%.*s?limit=%lld", PRI(uri_encode(call->arena, room_id)), (long long)limit);
    for (int count = 0; count < EDGES_MAX && history_edges_next(edges, &row); count++)
        strbuf_printf(&uri, "&v=%.*s", PRI(uri_encode(call->arena, row.event_id)));
    return strbuf_slice(&uri);
}

static enum fault take_history(struct call *call, const struct room_facts *room, const struct json *list, int64_t *added)
{
    struct checked_pdu *pdus;
    size_t count, kept = 0;
    enum fault fault = pdus_check_texts(call, room_version_find(room->room_version), list, &pdus, &count);
    if (fault)
        return fault;
    for (size_t i = 0; i < count; i++)
        if (pdus[i].fault == FAULT_OK && slice_eq(pdus[i].event->room_id, room->room_id))
            pdus[kept++] = pdus[i];
    qsort(pdus, kept, sizeof *pdus, by_depth);
    struct slice *texts = arena_new_array(call->arena, kept, struct slice);
    for (size_t i = 0; i < kept; i++)
        texts[i] = pdus[i].text;
    struct room_receive_request request = {.room_id = room->room_id, .pdus = {texts, kept}, .mode = RECEIVE_BACKFILL};
    struct room_receive_reply reply;
    if (kept == 0 || (fault = call_room_receive(call, room->room_id, &request, &reply)))
        return fault;
    for (size_t i = 0; i < reply.results.len; i++)
        *added += reply.results.at[i] == FAULT_OK;
    return FAULT_OK;
}

enum fault answer_remote_backfill(struct call *call, const struct remote_backfill_request *request,
                                  struct remote_backfill_reply *reply)
{
    struct room_facts room;
    struct slices servers;
    enum fault fault = room_find(call, request->room_id, &room);
    if (fault || (fault = room_servers(call, room.room_nid, &servers)))
        return fault;
    struct db_batch *batch = call_batch(call);
    struct db_result *edges = q_history_edges(batch, room.room_nid);
    if ((fault = db_run(batch)) || db_affected(edges) == 0)
        return fault;
    struct gate_place *gate;
    if ((fault = gate_enter(call, GATE_OUTBOUND, &gate)))
        return fault;
    struct slice uri = backfill_uri(call, request->room_id, request->limit, edges);
    fault = FAULT_PEER;
    for (size_t i = 0, tried = 0; i < servers.len && tried < SERVERS_TRIED; i++) {
        struct peer_answer answer;
        if (slice_eq(servers.at[i], server_name()))
            continue;
        tried++;
        if ((fault = peer_ask(call, servers.at[i], "GET", uri, SLICE_ABSENT, &answer)))
            continue;
        call->origin = servers.at[i];
        if ((fault = take_history(call, &room, json_get_array(answer.json, "pdus"), &reply->added)) || reply->added)
            return fault;
    }
    return fault;
}
