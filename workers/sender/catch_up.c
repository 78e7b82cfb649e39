/* Catching up; see catch_up.h. The destination turns live before the question is put: an event that commits too late for the answer
 * comes by its hint (or is found missing by the distributor), one that committed before is in the answer. So nothing falls between.
 */
#include "workers/sender/catch_up.h"

#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/store/event_row.h"
#include "workers/sender/distributor.h"
#include "workers/sender/queries.h"

static void list_add(struct owed_list *list, int64_t nid, int64_t pos)
{
    list->nids[list->count] = nid;
    list->positions[list->count++] = pos;
}

static struct owed_list list_of(size_t count)
{
    struct owed_list list = {.nids = malloc((count + 1) * sizeof(int64_t)), .positions = malloc((count + 1) * sizeof(int64_t))};
    ensure(list.nids && list.positions);
    return list;
}

static enum fault ask_latest(struct call *call, struct slice server, int64_t pos, struct owed_list *list)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_owed_latest(batch, server, pos);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    *list = list_of((size_t)db_affected(result));
    for (struct owed_latest_row row; owed_latest_next(result, &row);)
        list_add(list, row.event_nid, row.pos);
    log_event(LOG_INFO, "a server missed much: it gets the newest of each room", LOG_STR("server", server),
              LOG_I64("rooms", (int64_t)list->count));
    return FAULT_OK;
}

static enum fault ask(struct call *call, struct slice server, int64_t pos, struct owed_list *list)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_owed_list(batch, server, pos, OWED_ALL_MAX + 1);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    if (db_affected(result) > OWED_ALL_MAX)
        return ask_latest(call, server, pos, list);
    *list = list_of((size_t)db_affected(result));
    for (struct owed_list_row row; owed_list_next(result, &row);)
        list_add(list, row.event_nid, row.pos);
    return FAULT_OK;
}

/* Makes a list when something is owed and there is none. */
static enum fault make_list(struct call *call, struct destination *destination)
{
    destinations_lock();
    int64_t pos = 0;
    if (destination->list.at == destination->list.count && distributor_owns(destination->slot))
        pos = destination->owed_pos;
    if (pos) {
        destination->asking_pos = pos; /* still undelivered */
        destination->owed_pos = 0;
        destination->is_live = true;
    }
    destinations_unlock();
    if (!pos)
        return FAULT_OK;
    struct owed_list list;
    enum fault fault = ask(call, destination->server, pos, &list);
    destinations_lock();
    bool still_asked = destination->asking_pos != 0; /* not when the slot was lost meanwhile */
    destination->asking_pos = 0;
    if (still_asked && fault)
        destination_owe(destination, pos);
    else if (still_asked)
        destination_set_list(destination, list);
    destinations_unlock();
    if (!still_asked && !fault) {
        free(list.nids);
        free(list.positions);
    }
    return fault;
}

enum fault catch_up(struct call *call, struct destination *destination, struct flight *flight, struct slice *pdus, size_t *count)
{
    *count = 0;
    enum fault fault = make_list(call, destination);
    if (fault)
        return fault;
    int64_t nids[TRANSACTION_PDUS_MAX];
    size_t wanted = 0;
    destinations_lock();
    const struct owed_list *list = &destination->list;
    for (; wanted < TRANSACTION_PDUS_MAX && list->at + wanted < list->count; wanted++)
        nids[wanted] = list->nids[list->at + wanted];
    flight->min_pos = wanted ? list->positions[list->at] : 0;
    destinations_unlock();
    if (!wanted)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_events_json(batch, (struct i64s){nids, wanted});
    if ((fault = db_run(batch))) {
        flight->min_pos = 0;
        return fault;
    }
    struct slice jsons[TRANSACTION_PDUS_MAX] = {0};
    bool some = false;
    for (struct events_json_row row; events_json_next(result, &row);) {
        for (size_t i = 0; i < wanted; i++) {
            if (nids[i] == row.event_nid) {
                jsons[i] = event_for_servers(call->arena, row.room_version, row.json, row.is_redacted);
                some = true;
            }
        }
    }
    if (!some) { /* purged, all of them */
        destinations_lock();
        destination_skip(destination, wanted);
        destinations_unlock();
        flight->min_pos = 0;
        return FAULT_OK;
    }
    for (size_t i = 0; i < wanted; i++) { /* all count as carried, also those purged meanwhile */
        flight->nids[flight->nid_count++] = nids[i];
        if (!slice_is_absent(jsons[i]))
            pdus[(*count)++] = jsons[i];
    }
    return FAULT_OK;
}
