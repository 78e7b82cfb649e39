/* Taking joins back; see join_undo.h. Best effort: a process that is killed sends nothing, and the user's next attempt finds the
 * room as if it were the first. */
#include "workers/federation/join_undo.h"

#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/worker.h"
#include "lib/store/room_read.h"
#include "workers/federation/template.h"

struct join_debt { /* on the heap: it outlives the call */
    struct worker *worker;
    struct slice room_id, user_id, server;
    bool is_paid;
};

static struct slice copy(struct slice s)
{
    char *at = malloc(s.len + 1);
    ensure(at);
    memcpy(at, s.at, s.len);
    return slice_of(at, s.len);
}

static void debt_free(void *object)
{
    struct join_debt *debt = object;
    free((void *)debt->room_id.at);
    free((void *)debt->user_id.at);
    free((void *)debt->server.at);
    free(debt);
}

/* He may be in after all: a later attempt came through, or the answer that failed was only lost. */
static enum fault is_in(struct call *call, const struct join_debt *debt, bool *out)
{
    struct room_facts room;
    struct membership_row membership;
    enum fault fault;
    *out = false;
    if (!(fault = room_find(call, debt->room_id, &room)) &&
        !(fault = membership_find(call, room.room_nid, debt->user_id, &membership)))
        *out = room.extremities.len && slice_eq(membership.membership, SLICE("join"));
    return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
}

static void take_back(struct call *call, void *context)
{
    struct join_debt *debt = context;
    arena_defer(call->arena, debt_free, debt);
    struct membership_flow flow = {.make = "make_leave",
                                   .send = "/_matrix/federation/v2/send_leave",
                                   .membership = "leave",
                                   .room_id = debt->room_id,
                                   .user_id = debt->user_id,
                                   .content = SLICE_ABSENT};
    struct templated templated = {0};
    bool in;
    enum fault fault = is_in(call, debt, &in);
    if (fault || in)
        return;
    fault = membership_through(call, &flow, (struct slices){&debt->server, 1}, &templated);
    log_event(LOG_INFO, "a join that failed here was taken back", LOG_STR("room", debt->room_id), LOG_STR("user", debt->user_id),
              LOG_STR("server", debt->server), LOG_CSTR("fault", fault_facts(fault)->name));
}

static void settle(void *object) /* the call that made it ends */
{
    struct join_debt *debt = object;
    if (debt->is_paid || !worker_enqueue(debt->worker, debt->room_id, take_back, debt))
        debt_free(debt);
}

struct join_debt *join_debt_owe(struct call *call, struct slice room_id, struct slice user_id, struct slice server)
{
    struct join_debt *debt = calloc(1, sizeof *debt);
    ensure(debt);
    *debt = (struct join_debt){call->worker, copy(room_id), copy(user_id), copy(server), false};
    arena_defer(call->arena, settle, debt);
    return debt;
}

void join_debt_paid(struct join_debt *debt)
{
    debt->is_paid = true;
}
