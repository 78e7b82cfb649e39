/* The SQL path, step by step; see work.h for the steps. Up to three trips in one read-only transaction whose snapshot becomes the
 * client's next token; then, outside it, what may be read from any later snapshot. */
#include "workers/sync/full_path.h"

#include "proto/stubs.h"
#include "workers/sync/presence.h"
#include "workers/sync/queries.h"
#include "workers/sync/receipts.h"
#include "workers/sync/typing.h"

/* A token of a time that this cluster has not reached (a restored backup): the client starts over. */
static bool is_of_the_future(const struct sync_work *work)
{
    return work->request->since.xmin > work->next.xmax;
}

static enum fault read_all(struct sync_work *work)
{
    struct timelines timelines = {0};
    struct states states = {0};
    struct receipts_read receipts = {0};
    enum fault fault = rooms_read(work);
    if (fault || is_of_the_future(work))
        return fault;
    timelines_ask(work, &timelines);
    states_ask(work, &states);
    receipts_ask(work, &receipts);
    if ((timelines.result || states.result || receipts.result) && (fault = db_step(work->batch)))
        return fault;
    timelines_take(work, &timelines);
    states_take(work, &states);
    receipts_take(work, &receipts);
    return members_read(work);
}

static void mark_told(struct sync_work *work)
{
    for (size_t i = 0; i < work->room_count; i++) {
        struct sync_room *room = &work->rooms[i];
        room->is_told =
            room->section == SECTION_JOIN &&
            (room->entire || room->timeline.count || room->limited || room->state.count || room->has_summary ||
             !slice_is_absent(room->receipts) || !slice_is_absent(room->account_data) || !slice_is_absent(room->typing));
        work->anything |= room->is_told || (room->section != SECTION_JOIN && room->section != SECTION_NONE);
    }
    work->anything |= !slice_is_absent(work->account_data) || !slice_is_absent(work->to_device) ||
                      !slice_is_absent(work->presence) || work->devices_changed.len || work->devices_left.len ||
                      work->request->first || work->request->full_state;
}

/* What the client has acknowledged by coming back with the token: accounts owns the table. Not worth failing a sync for. */
static void drop_acknowledged(struct sync_work *work)
{
    struct to_device_delete_request request = {.user_id = work->request->user_id,
                                               .device_id = work->request->device_id,
                                               .up_to_seq = work->request->since.to_device_seq,
                                               .below_pos = work->request->since.xmin};
    struct to_device_delete_reply reply;
    if (work->to_device_done)
        call_to_device_delete(work->call, request.user_id, &request, &reply);
}

static enum fault run_once(struct call *call, const struct sync_request *request, struct sync_work *work)
{
    *work = (struct sync_work){.call = call, .request = request, .since = sync_token_snapshot(call->arena, &request->since)};
    work->next.epoch = request->epoch;
    work->next.serial = work->next.presence = ephemeral_serial(); /* before looking: what comes between is told twice, not never */
    work->batch = call_transaction(call);
    enum fault fault = read_all(work);
    if (fault)
        return fault;
    return db_commit(work->batch);
}

enum fault full_path_run(struct call *call, const struct sync_request *request, struct sync_work *work, struct slice *answer)
{
    struct sync_request over;
    enum fault fault = run_once(call, request, work);
    if (!fault && is_of_the_future(work)) {
        over = *request;
        over.since = sync_token_none();
        over.first = true;
        over.since_text = SLICE_ABSENT;
        request = arena_new(call->arena, struct sync_request);
        memcpy((void *)(uintptr_t)request, &over, sizeof over);
        fault = run_once(call, request, work);
    }
    if (fault || (fault = left_rooms_read(work)) || (fault = timelines_admit(work)) || (fault = states_settle(work)) ||
        (fault = invites_read(work)))
        return fault;
    typing_collect(work);
    if ((fault = presence_collect(work)))
        return fault;
    drop_acknowledged(work);
    mark_told(work);
    if ((fault = unread_count(work)))
        return fault;
    return answer_write(work, answer);
}
