/* Slots, hints, looks into the database; see distributor.h. One thread for what blocks; hints come on the link thread, changes of
 * slots on the kit's slot thread. What they share is guarded by the destinations' lock. */
#include "workers/sender/distributor.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/metrics.h"
#include "lib/matrix/ids.h"
#include "workers/sender/destination.h"
#include "workers/sender/outbox.h"
#include "workers/sender/pool.h"
#include "workers/sender/queries.h"
#include "workers/sender/seen.h"

enum {
    TICK_MS = 250,
    SCAN_MS = 1000,
    IDLE_SCAN_MS = 10000,
    SCAN_ROWS = 20000,
    TIDY_MS = 60000,
    WORK_MS = 30000,
    HINT_BYTES_MAX = 16 * 1024 * 1024
};

static struct worker *worker;
static pthread_t thread;
static pthread_cond_t news;
/* Guarded by the destinations' lock. */
static uint64_t granted;                /* the kit says so */
static uint64_t owned;                  /* of these: hints are taken */
static uint64_t settled;                /* of these: what was owed before is known, distributed_pos moves */
static int64_t scan_pos;                /* 0: nothing owned yet */
static int64_t distributed[SLOT_COUNT]; /* as in the table */
static bool is_dirty;                   /* local events may have come since the last scan */
static bool is_ending;
static struct arena *hint_arena; /* link thread only */
static struct metric *missed, *scans_failed;

bool distributor_owns(int slot)
{
    return settled >> slot & 1;
}

/* ---- hints, on the link thread */

static void hand_over(const struct stream_event *event, int64_t pos)
{
    struct slice origin = id_server_name(event->sender);
    struct pdu *pdu = NULL;
    for (size_t i = 0; i < event->destinations.len; i++) {
        struct slice server = event->destinations.at[i];
        if (!(owned >> slot_of(server) & 1) || slice_eq(server, server_name()) || slice_eq(server, origin))
            continue;
        if (!pdu)
            pdu = pdu_create(event->event_nid, pos, event->json);
        struct destination *destination = destination_get(server);
        destination_push(destination, pdu);
        pool_poke(destination);
    }
    if (pdu)
        pdu_release(pdu);
}

static void on_hint(struct worker *of, const struct stream_hint *hint, bool gap, void *context)
{
    struct stream_event event;
    if (!gap && (hint->kind != STREAM_event || slice_is_absent(hint->payload)))
        return;
    arena_reset(hint_arena);
    if (!gap && (!stream_event_unpack(hint_arena, hint->payload, &event) || !event.local || event.outlier))
        return;
    destinations_lock();
    is_dirty = true;
    if (gap)
        pthread_cond_signal(&news);
    else if (owned && seen_add(event.event_nid, hint->pos))
        hand_over(&event, hint->pos); /* else the scan finds it */
    destinations_unlock();
}

/* ---- slots, on the slot thread */

static void on_slots(struct worker *of, uint64_t now, void *context)
{
    destinations_lock();
    uint64_t lost = owned & ~now;
    granted = now;
    owned &= now;
    settled &= now;
    size_t at = 0;
    for (struct destination *destination; lost && destination_next(&at, &destination);) {
        if (lost >> destination->slot & 1)
            destination_lose(destination);
    }
    pthread_cond_signal(&news);
    destinations_unlock();
    log_event(LOG_INFO, "slots", LOG_I64("owned", __builtin_popcountll(now)));
}

/* ---- the distributor's thread: taking slots */

static struct i64s slot_numbers(struct call *call, uint64_t slots)
{
    int64_t *numbers = arena_new_array(call->arena, SLOT_COUNT, int64_t);
    size_t count = 0;
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        if (slots >> slot & 1)
            numbers[count++] = slot;
    }
    return (struct i64s){numbers, count};
}

/* Who failed, and what they were owed then. Under the lock. */
static void restore(const struct destinations_of_slots_row *row)
{
    struct destination *destination = destination_get(row->server);
    destination->has_row = destination->backoff_known = true;
    destination->backoff = (struct backoff){row->failing_since_ts, row->retry_ts, row->backoff_ms};
    if (row->owed_pos != DB_NULL_I64) {
        destination_owe(destination, row->owed_pos);
        destination->saved_owed_pos = row->owed_pos;
    }
}

/* Servers with events since the slot's distributed_pos owe from there. Under the lock. */
static void owe_since(struct slice server, int64_t pos, uint64_t slots, const int64_t *floor)
{
    int slot = slot_of(server);
    if (!(slots >> slot & 1) || slice_eq(server, server_name()))
        return;
    destination_owe(destination_get(server), floor && floor[slot] > pos ? floor[slot] : pos); /* the next round wakes it */
}

static enum fault take_slots(struct call *call, uint64_t gained)
{
    struct i64s slots = slot_numbers(call, gained);
    struct db_batch *batch = call_batch(call);
    struct db_result *taken = q_slots_take(batch, slots, (int64_t)worker_instance(worker));
    enum fault fault = db_run(batch); /* on its own: the fence stands before anything is read */
    if (fault)
        return fault;
    int64_t floor[SLOT_COUNT] = {0}, from = INT64_MAX;
    for (struct slots_take_row row; slots_take_next(taken, &row);) {
        floor[row.slot] = row.distributed_pos;
        from = row.distributed_pos < from ? row.distributed_pos : from;
    }
    batch = call_batch(call);
    struct db_result *horizon = q_horizon(batch);
    if ((fault = db_run(batch)))
        return fault;
    struct horizon_row now = {0};
    horizon_next(horizon, &now);
    destinations_lock();
    gained &= granted;
    if (!owned || !scan_pos)
        scan_pos = now.horizon;
    owned |= gained; /* hints are taken from here on: what follows reads everything that came before */
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        if (gained >> slot & 1)
            distributed[slot] = floor[slot];
    }
    destinations_unlock();
    batch = call_batch(call);
    struct db_result *failing = q_destinations_of_slots(batch, slots), *owed = q_servers_owed_since(batch, from);
    if ((fault = db_run(batch))) {
        destinations_lock();
        owned &= ~gained; /* once more from the start */
        destinations_unlock();
        return fault;
    }
    destinations_lock();
    gained &= owned;
    for (struct destinations_of_slots_row row; destinations_of_slots_next(failing, &row);) {
        if (gained >> slot_of(row.server) & 1)
            restore(&row);
    }
    for (struct servers_owed_since_row row; servers_owed_since_next(owed, &row);)
        owe_since(row.server, row.pos, gained, floor);
    settled |= gained;
    is_dirty = true;
    destinations_unlock();
    return FAULT_OK;
}

/* ---- the look into the database */

/* Who gets the events of which no hint told owes them. */
static enum fault owe_unseen(struct call *call, struct i64s nids)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *servers = q_servers_owed_of(batch, nids);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    metric_add(missed, (int64_t)nids.len);
    destinations_lock();
    for (struct servers_owed_of_row row; servers_owed_of_next(servers, &row);)
        owe_since(row.server, row.pos, owned, NULL);
    destinations_unlock();
    return FAULT_OK;
}

/* Everything below the horizon that is read first has committed, so it is among the second statement's rows. */
static enum fault scan(struct call *call)
{
    destinations_lock();
    int64_t from = scan_pos;
    is_dirty = false;
    destinations_unlock();
    struct db_batch *batch = call_batch(call);
    struct db_result *first = q_horizon(batch), *rows = q_local_since(batch, from, SCAN_ROWS);
    enum fault fault = db_run(batch);
    struct horizon_row horizon;
    if (fault || !horizon_next(first, &horizon))
        return fault ? fault : FAULT_INTERNAL;
    struct local_since_row *found = arena_new_array(call->arena, SCAN_ROWS, struct local_since_row);
    size_t found_count = 0, count = 0;
    while (found_count < SCAN_ROWS && local_since_next(rows, &found[found_count]))
        found_count++;
    int64_t to = horizon.horizon;
    bool is_full = found_count == SCAN_ROWS; /* more than one look takes: up to the last transaction that is whole */
    if (is_full && found[found_count - 1].pos < to)
        to = found[found_count - 1].pos;
    int64_t *nids = arena_new_array(call->arena, found_count, int64_t);
    destinations_lock();
    for (size_t i = 0; i < found_count; i++) {
        if (found[i].pos < to && !seen_has(found[i].event_nid))
            nids[count++] = found[i].event_nid;
    }
    is_dirty |= is_full;
    destinations_unlock();
    if (count && (fault = owe_unseen(call, (struct i64s){nids, count})))
        return fault;
    destinations_lock();
    seen_forget_below(to);
    scan_pos = to > scan_pos ? to : scan_pos;
    destinations_unlock();
    return FAULT_OK;
}

/* ---- distributed_pos */

/* *all: nothing is on its way any more that holds it back. */
static enum fault advance(struct call *call, bool *all)
{
    int64_t *slots = arena_new_array(call->arena, SLOT_COUNT, int64_t),
            *positions = arena_new_array(call->arena, SLOT_COUNT, int64_t);
    int64_t reached[SLOT_COUNT];
    size_t count = 0, at = 0;
    *all = true;
    destinations_lock();
    for (int slot = 0; slot < SLOT_COUNT; slot++)
        reached[slot] = scan_pos;
    for (struct destination *destination; destination_next(&at, &destination);) {
        int64_t pos = undelivered_pos(destination), saved = destination->saved_owed_pos;
        if (pos && pos < reached[destination->slot] && !(saved && saved <= pos))
            reached[destination->slot] = pos;
    }
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        *all &= !(settled >> slot & 1) || reached[slot] == scan_pos;
        if (settled >> slot & 1 && reached[slot] > distributed[slot]) {
            slots[count] = slot;
            positions[count++] = reached[slot];
        }
    }
    destinations_unlock();
    if (!count)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    q_slots_advance(batch, (struct i64s){slots, count}, (struct i64s){positions, count}, (int64_t)worker_instance(worker));
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    destinations_lock();
    for (size_t i = 0; i < count; i++) {
        if (positions[i] > distributed[slots[i]])
            distributed[slots[i]] = positions[i];
    }
    destinations_unlock();
    return FAULT_OK;
}

/* ---- the thread */

static bool has_other_senders(void)
{
    const struct peers *peers = worker_peers(worker);
    size_t count = 0;
    for (size_t i = 0; i < peers->count; i++)
        count += peers->at[i].kind == SERVICE_sender;
    worker_peers_release(peers);
    return count > 1;
}

static void poke_all(void)
{
    size_t at = 0;
    destinations_lock();
    for (struct destination *destination; destination_next(&at, &destination);)
        pool_poke(destination);
    destinations_unlock();
}

struct times { /* monotonic ms: when each thing was done last */
    int64_t scan, sweep, tidy;
    bool is_settled; /* the table says how far we are; an empty stretch of the stream need not be skipped in it */
};

static enum fault look_around(struct call *call, struct times *times)
{
    int64_t now_ms = clock_monotonic_ms();
    destinations_lock();
    uint64_t gained = granted & ~settled;
    destinations_unlock();
    enum fault fault = gained ? take_slots(call, gained) : FAULT_OK;
    if (fault)
        return fault;
    destinations_lock();
    uint64_t ours = settled;
    bool dirty = is_dirty;
    destinations_unlock();
    if (!ours)
        return FAULT_OK;
    times->is_settled &= !dirty;
    if (gained || now_ms >= times->scan + (dirty ? SCAN_MS : IDLE_SCAN_MS)) {
        times->scan = now_ms;
        if ((fault = scan(call)))
            return fault;
    }
    if (!times->is_settled && (fault = advance(call, &times->is_settled)))
        return fault;
    if (gained || now_ms >= times->sweep + (has_other_senders() ? TICK_MS : IDLE_SCAN_MS)) {
        times->sweep = now_ms;
        if ((fault = outbox_sweep(call, ours)))
            return fault;
    }
    if (now_ms >= times->tidy + TIDY_MS) {
        times->tidy = now_ms;
        destinations_lock();
        destinations_evict(now_ms);
        destinations_unlock();
        fault = outbox_expire(call);
    }
    return fault;
}

static void *thread_main(void *context)
{
    struct times times = {0};
    bool was_failing = false;
    destinations_lock();
    while (!is_ending) {
        destinations_unlock();
        struct call *call = worker_call_begin(worker, WORK_MS);
        enum fault fault = look_around(call, &times);
        worker_call_end(&call);
        if (fault) {
            metric_add(scans_failed, 1);
            if (!was_failing)
                log_event(LOG_WARN, "the distributor waits for the database", LOG_CSTR("why", fault_facts(fault)->name));
            destinations_lock();
            is_dirty = true;
            destinations_unlock();
        }
        was_failing = fault != FAULT_OK;
        poke_all();
        destinations_lock();
        if (!is_ending)
            destinations_wait(&news, TICK_MS);
    }
    destinations_unlock();
    return NULL;
}

/* ---- start and end */

static int64_t count_queued(void *context)
{
    int64_t queued = 0;
    size_t at = 0;
    destinations_lock();
    for (struct destination *destination; destination_next(&at, &destination);)
        queued += (int64_t)(destination->queue_count + destination->list.count - destination->list.at + destination->edus.count);
    destinations_unlock();
    return queued;
}

static int64_t count_failing(void *context)
{
    int64_t failing = 0;
    size_t at = 0;
    destinations_lock();
    for (struct destination *destination; destination_next(&at, &destination);)
        failing += backoff_is_failing(&destination->backoff);
    destinations_unlock();
    return failing;
}

static int64_t count_destinations(void *context)
{
    destinations_lock();
    int64_t count = (int64_t)destinations_count();
    destinations_unlock();
    return count;
}

enum fault distributor_start(struct worker *of)
{
    worker = of;
    hint_arena = arena_create(HINT_BYTES_MAX);
    destinations_condition(&news);
    metric_read_by(metric_gauge("myelin_sender_queued", "Events and EDUs in memory that wait", NULL), count_queued, NULL);
    metric_read_by(metric_gauge("myelin_sender_failing", "Servers that are left alone for a while", NULL), count_failing, NULL);
    metric_read_by(metric_gauge("myelin_sender_destinations", "Servers with an entry in memory", NULL), count_destinations, NULL);
    missed = metric_counter("myelin_sender_missed_hints_total", "Local events found in the database that no hint told of", NULL);
    scans_failed = metric_counter("myelin_sender_database_failures_total", "Rounds of the distributor that failed", NULL);
    stream_listen(worker, SERVICE_events, on_hint, NULL);
    ensure(pthread_create(&thread, NULL, thread_main, NULL) == 0);
    return worker_slots(worker, on_slots, NULL);
}

void distributor_stop(void)
{
    destinations_lock();
    is_ending = true;
    pthread_cond_signal(&news);
    destinations_unlock();
    pthread_join(thread, NULL);
}

void distributor_finish(void)
{
    struct call *call = worker_call_begin(worker, SCAN_MS);
    bool all;
    if (scan_pos)
        advance(call, &all);
    worker_call_end(&call);
    arena_destroy(&hint_arena);
}
