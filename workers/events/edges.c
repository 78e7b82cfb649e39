/* message room_edges_rest: places where history ends here and that nobody could fill. */
#include "lib/store/room_read.h"
#include "proto/dispatch.h"
#include "workers/events/queries.h"

enum fault answer_room_edges_rest(struct call *call, const struct room_edges_rest_request *request,
                                  struct room_edges_rest_reply *reply)
{
    struct room_facts room;
    enum fault fault = room_find(call, request->room_id, &room);
    if (fault)
        return fault;
    struct db_batch *batch = call_batch(call);
    q_backward_edges_rest(batch, room.room_nid, request->event_ids, request->retry_ts);
    return db_run(batch);
}
