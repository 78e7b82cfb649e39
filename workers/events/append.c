/* Appending local events; see append.h. The retry loop is the only answer to a lost race: load the room anew and do it again. */
#include "workers/events/append.h"

#include "lib/store/event_row.h"
#include "proto/dispatch.h"
#include "workers/events/compose.h"
#include "workers/events/queries.h"
#include "workers/events/state_keys.h"

enum { RACES_MAX = 8 };

/* Has this transaction id been used? FAULT_NOT_FOUND: no. */
static enum fault find_earlier(struct call *call, const struct append *append, int64_t room_nid, struct slice *event_id)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_txn_find(batch, append->txn.user, append->txn.device, room_nid, append->txn.scope, append->txn.id);
    enum fault fault = db_run(batch);
    struct txn_find_row row;
    if (fault)
        return fault;
    if (!txn_find_next(result, &row))
        return FAULT_NOT_FOUND;
    *event_id = row.event_id;
    return FAULT_OK;
}

/* The state event that stands already with the same content by the same sender; absent when there is none. */
static enum fault find_standing(struct call *call, struct hot_room *room, const struct event_draft *draft, struct slice *event_id)
{
    *event_id = SLICE_ABSENT;
    int64_t key;
    struct event *standing;
    enum fault fault = state_keys_find(call, &draft->type, &draft->state_key, 1, &key);
    if (fault)
        return fault;
    int64_t nid = state_map_get(room->state->map, key);
    if ((fault = hot_room_events(call, room, &nid, 1, &standing)) || !standing)
        return fault;
    const struct json *content = json_parse(call->arena, draft->content, JSON_LAX, NULL);
    if (slice_eq(standing->sender, draft->sender) && json_is(content, JSON_OBJECT) &&
        slice_eq(json_canonical(call->arena, content, NULL), json_canonical(call->arena, standing->content, NULL)))
        *event_id = standing->event_id;
    return FAULT_OK;
}

static enum fault append_once(struct call *call, const struct append *append, struct appended *out)
{
    struct hot_room *room;
    enum fault fault = hot_room_get(call, append->room_id, &room);
    if (fault)
        return fault;
    if (room->extremity_count == 0)
        return FAULT_NOT_FOUND; /* we only hold an invite of it */
    if (append->skip_unchanged_state && append->count == 1 && !slice_is_absent(append->drafts[0].state_key)) {
        struct slice standing;
        if ((fault = find_standing(call, room, &append->drafts[0], &standing)))
            return fault;
        if (!slice_is_absent(standing)) {
            out->event_ids[0] = standing;
            return FAULT_OK;
        }
    }
    struct room_write write;
    size_t failed;
    room_write_begin(&write, call, room, append->count);
    write.txn = append->txn;
    if ((fault = compose(&write, append->drafts, append->count, &out->why, &failed)) || (fault = room_write_commit(&write)))
        return fault;
    for (size_t i = 0; i < append->count; i++) {
        out->event_ids[i] = write.events[i].event->event_id;
        out->room_pos[i] = write.events[i].room_pos;
    }
    return FAULT_OK;
}

enum fault room_append_drafts(struct call *call, const struct append *append, struct appended *out)
{
    *out = (struct appended){.event_ids = arena_new_array(call->arena, append->count, struct slice),
                             .room_pos = arena_new_array(call->arena, append->count, int64_t)};
    for (int race = 0;; race++) {
        enum fault fault = append_once(call, append, out);
        if (fault != FAULT_CONFLICT && fault != FAULT_REJECTED)
            return fault;
        /* CONFLICT: either another writer was first, or this very transaction id was. REJECTED: what is not allowed now may have
         * been when it was sent first, and a retransmission gets the first answer. The table tells, so the hot path does not ask
         * before.
         */
        if (!slice_is_absent(append->txn.id)) {
            struct hot_room *room;
            enum fault earlier = hot_room_get(call, append->room_id, &room);
            if (!earlier)
                earlier = find_earlier(call, append, room->room_nid, &out->event_ids[0]);
            if (earlier != FAULT_NOT_FOUND)
                return earlier;
        }
        if (fault == FAULT_REJECTED || race == RACES_MAX)
            return fault;
    }
}

/* ---- message room_append: what rooms and others write */
enum fault answer_room_append(struct call *call, const struct room_append_request *request, struct room_append_reply *reply)
{
    size_t count = request->types.len;
    if (count == 0 || request->state_keys.len != count || request->senders.len != count || request->contents.len != count)
        return FAULT_BAD_JSON;
    struct event_draft *drafts = arena_new_array(call->arena, count, struct event_draft);
    for (size_t i = 0; i < count; i++)
        drafts[i] = (struct event_draft){.type = request->types.at[i],
                                         .state_key = request->state_keys.at[i],
                                         .sender = request->senders.at[i],
                                         .content = request->contents.at[i],
                                         .redacts = request->redacts.len == count ? request->redacts.at[i] : SLICE_ABSENT,
                                         .origin_server_ts = request->origin_server_ts};
    struct append append = {.room_id = request->room_id,
                            .drafts = drafts,
                            .count = count,
                            .txn = {request->senders.at[0], request->device_id, SLICE("append"), request->txn_id}};
    struct appended appended;
    enum fault fault = room_append_drafts(call, &append, &appended);
    call->why = reply->why = slice_from_cstr(appended.why);
    if (fault)
        return fault;
    reply->event_ids = (struct slices){appended.event_ids, count};
    reply->room_pos = (struct i64s){appended.room_pos, count};
    return FAULT_OK;
}
