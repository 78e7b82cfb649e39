/* message room_import_events: a portion of a send_join answer becomes outliers. Each event comes behind its auth events, in this
 * portion or an earlier one; one that does not is left out. So the auth events of what is stored are stored, and never in a circle.
 * An id that is known keeps its stored bytes: in versions 1 and 2 a server may send another event under an old id. */
#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/store/event_row.h"
#include "proto/dispatch.h"
#include "workers/events/import.h"
#include "workers/events/import_pace.h"
#include "workers/events/inbound.h"
#include "workers/events/nids.h"
#include "workers/events/queries.h"
#include "workers/events/state_keys.h"

enum { RACES_MAX = 5, PACE_LASTS_US = 10 * 1000 * 1000 };

struct portion_event {
    struct event *event;
    int64_t nid; /* 0: not stored */
    bool is_new, is_foreign /* the id belongs to another room */;
    struct i64s auth_nids;
    enum fault result;
};

struct portion {
    struct call *call;
    struct hot_room *room;
    struct portion_event *events; /* as they came */
    size_t count;
    struct map *by_id; /* event id → struct portion_event: stored ones, and those of this portion that will be */
    const struct event *create;
    struct import_times times;
};

static void leave_out(struct portion *portion, struct portion_event *left_out, enum fault result, const char *why)
{
    left_out->result = result;
    log_event(LOG_DEBUG, "an event of a send_join answer is left out", LOG_STR("room", portion->room->room_id),
              LOG_STR("event", left_out->event ? left_out->event->event_id : SLICE_ABSENT), LOG_CSTR("why", why));
}

static void parse_all(struct portion *portion, struct slices texts)
{
    for (size_t i = 0; i < texts.len; i++) {
        struct inbound inbound;
        const char *why = "not an event";
        struct portion_event *event = &portion->events[i];
        if (inbound_parse(portion->call, portion->room->version, portion->room->room_id, texts.at[i], &inbound, &why))
            leave_out(portion, event, FAULT_BAD_JSON, why);
        else
            event->event = inbound.event;
    }
}

/* The portion's events, all that they name, and the create event, which version 12 does not name. Each once. */
static struct slices ids_to_look_up(struct portion *portion)
{
    struct arena *arena = portion->call->arena;
    struct map *ids = map_create(arena);
    for (size_t i = 0; i < portion->count; i++) {
        const struct event *event = portion->events[i].event;
        if (!event)
            continue;
        map_put(ids, event->event_id, NULL);
        for (size_t k = 0; k < event->auth_events.len; k++)
            map_put(ids, event->auth_events.at[k], NULL);
    }
    if (portion->room->version->room_id_is_create_hash)
        map_put(ids, arena_printf(arena, "$%.*s", (int)portion->room->room_id.len - 1, portion->room->room_id.at + 1), NULL);
    struct slice *list = arena_new_array(arena, map_count(ids), struct slice);
    struct slice id;
    size_t count = 0;
    for (size_t at = 0; map_next(ids, &at, &id, NULL);)
        list[count++] = id;
    return (struct slices){list, count};
}

static enum fault look_up(struct portion *portion)
{
    struct call *call = portion->call;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_import_known(batch, ids_to_look_up(portion));
    enum fault fault = db_run(batch);
    struct import_known_row row;
    portion->by_id = map_create(call->arena);
    portion->create = NULL;
    while (!fault && import_known_next(result, &row)) {
        struct portion_event *known = arena_new(call->arena, struct portion_event);
        known->nid = row.event_nid;
        known->is_foreign = row.room_nid != portion->room->room_nid;
        if (!known->is_foreign) {
            ensure(event_parse_history(call->arena, portion->room->version, row.json, &known->event, NULL) == FAULT_OK);
            known->event->rejected = row.flags & EVENT_REJECTED;
            if (event_is(known->event, "m.room.create"))
                portion->create = known->event;
        }
        map_put(portion->by_id, row.event_id, known);
    }
    return fault;
}

/* By its own auth events: the state of the room at that time is not known. */
static void authorise(struct portion *portion, struct event *event, const struct event **auth, size_t count)
{
    if (event_is(event, "m.room.create"))
        portion->create = event;
    bool implied = portion->room->version->room_id_is_create_hash && portion->create;
    const char *why = NULL;
    enum fault fault = event_is(event, "m.room.create")
                           ? FAULT_OK
                           : auth_check_auth_events(event, auth, count, implied ? event->room_id : SLICE_ABSENT, &why);
    if (implied && event != portion->create)
        auth[count++] = portion->create;
    struct event_list_view view = event_list_view(auth, count);
    if (fault == FAULT_OK)
        fault = auth_check_state(portion->call->arena, event, &view.view, &why);
    event->rejected = fault != FAULT_OK;
    if (fault)
        log_event(LOG_DEBUG, "an event of a send_join answer is rejected", LOG_STR("event", event->event_id), LOG_CSTR("why", why));
}

static void take_new(struct portion *portion, struct portion_event *added, const int64_t *nids)
{
    struct arena *arena = portion->call->arena;
    size_t count = added->event->auth_events.len;
    const struct event **auth = arena_new_array(arena, count + 1, const struct event *);
    int64_t *auth_nids = arena_new_array(arena, count, int64_t);
    for (size_t k = 0; k < count; k++) {
        const struct portion_event *known = map_get(portion->by_id, added->event->auth_events.at[k]);
        if (!known || known->is_foreign) {
            leave_out(portion, added, FAULT_MISSING_EVENTS, "one of its auth events is unknown");
            return;
        }
        auth[k] = known->event;
        auth_nids[k] = known->nid;
    }
    authorise(portion, added->event, auth, count);
    added->nid = nids[added - portion->events];
    added->is_new = true;
    added->auth_nids = (struct i64s){auth_nids, count};
    added->result = added->event->rejected ? FAULT_REJECTED : FAULT_OK;
    map_put(portion->by_id, added->event->event_id, added);
}

static enum fault take_all(struct portion *portion)
{
    int64_t *nids = arena_new_array(portion->call->arena, portion->count, int64_t);
    enum fault fault = nids_take(portion->call, portion->count, nids);
    if (fault)
        return fault;
    for (size_t i = 0; i < portion->count; i++) {
        struct portion_event *taken = &portion->events[i];
        if (!taken->event)
            continue;
        const struct portion_event *known = map_get(portion->by_id, taken->event->event_id);
        *taken = (struct portion_event){.event = taken->event};
        if (!known) {
            take_new(portion, taken, nids);
        } else if (known->is_foreign) {
            leave_out(portion, taken, FAULT_BAD_JSON, "its id is an event of another room");
        } else {
            taken->event = known->event;
            taken->nid = known->nid;
            taken->result = known->event->rejected ? FAULT_REJECTED : FAULT_OK;
        }
    }
    return FAULT_OK;
}

/* ---- the pace. One portion is too short to find it, so this process's imports share it. What it was some time ago says little. */
static pthread_mutex_t pace_lock = PTHREAD_MUTEX_INITIALIZER;
static struct import_pace pace; /* guarded by pace_lock */
static int64_t paced_us;        /* as well: when it was last heard of */

static size_t pace_rows(void)
{
    pthread_mutex_lock(&pace_lock);
    if (pace.rows == 0 || clock_monotonic_us() - paced_us > PACE_LASTS_US)
        import_pace_start(&pace);
    size_t rows = pace.rows;
    pthread_mutex_unlock(&pace_lock);
    return rows;
}

static void pace_took(size_t rows, int64_t took_us)
{
    pthread_mutex_lock(&pace_lock);
    import_pace_took(&pace, rows, took_us);
    paced_us = clock_monotonic_us();
    pthread_mutex_unlock(&pace_lock);
}

/* ---- into the table, in chunks. Those before one that fails are stored, and found when it is done again. */

/* The new ones of the portion's events `from` to `to`; how many. */
static size_t add_insert(struct portion *portion, size_t from, size_t to, struct db_batch *batch)
{
    struct arena *arena = portion->call->arena;
    size_t room = to - from, count = 0, flat_count = 0;
    int64_t *nids = arena_new_array(arena, room, int64_t), *depths = arena_new_array(arena, room, int64_t);
    int64_t *stamps = arena_new_array(arena, room, int64_t), *flags = arena_new_array(arena, room, int64_t);
    int64_t *flat = arena_new_array(arena, room * AUTH_EVENTS_MAX, int64_t), *ends = arena_new_array(arena, room, int64_t);
    struct slice *ids = arena_new_array(arena, room, struct slice), *types = arena_new_array(arena, room, struct slice);
    struct slice *keys = arena_new_array(arena, room, struct slice), *senders = arena_new_array(arena, room, struct slice);
    struct slice *texts = arena_new_array(arena, room, struct slice);
    for (size_t i = from; i < to; i++) {
        const struct portion_event *added = &portion->events[i];
        const struct event *event = added->event;
        if (!added->is_new)
            continue;
        nids[count] = added->nid;
        ids[count] = event->event_id;
        depths[count] = event->depth;
        types[count] = event->type;
        keys[count] = event->state_key;
        senders[count] = event->sender;
        stamps[count] = event->origin_server_ts;
        flags[count] = EVENT_OUTLIER | (event->rejected ? EVENT_REJECTED : 0) | (event_is_state(event) ? EVENT_STATE : 0);
        texts[count] = event->raw;
        for (size_t k = 0; k < added->auth_nids.len; k++)
            flat[flat_count++] = added->auth_nids.at[k];
        ends[count++] = (int64_t)flat_count;
    }
    if (count)
        q_outlier_insert(batch, (struct i64s){nids, count}, (struct slices){ids, count}, portion->room->room_nid,
                         (struct i64s){depths, count}, (struct slices){types, count}, (struct slices){keys, count},
                         (struct slices){senders, count}, (struct i64s){stamps, count}, (struct i64s){flags, count},
                         (struct i64s){flat, flat_count}, (struct i64s){ends, count}, (struct slices){texts, count});
    return count;
}

static enum fault insert_new(struct portion *portion)
{
    struct arena *arena = portion->call->arena;
    enum fault fault = FAULT_OK;
    for (size_t from = 0, to; from < portion->count && !fault; from = to) {
        size_t rows = pace_rows();
        for (to = from; to < portion->count && rows; to++)
            rows -= portion->events[to].is_new;
        struct arena_mark mark = arena_mark(arena);
        struct db_batch *batch = call_batch(portion->call);
        size_t count = add_insert(portion, from, to, batch);
        if (count) {
            fault = import_run(batch, &portion->times, "events");
            pace_took(fault ? 0 : count, portion->times.last_us);
        }
        arena_release(arena, mark);
    }
    return fault;
}

static enum fault store(struct portion *portion)
{
    for (int race = 0;; race++) {
        enum fault fault;
        if ((fault = look_up(portion)) || (fault = take_all(portion)))
            return fault;
        fault = insert_new(portion);
        if (fault != FAULT_CONFLICT || race == RACES_MAX)
            return fault; /* a conflict: somebody else stored one of them meanwhile */
    }
}

/* The numbers of those that may be state. A key's row costs less than an event's, so the pace suits; it is not known which are new
 * and were written, so it does not learn from what was quick. */
static enum fault intern(struct portion *portion, int64_t *out)
{
    struct arena *arena = portion->call->arena;
    struct slice *types = arena_new_array(arena, portion->count, struct slice);
    struct slice *keys = arena_new_array(arena, portion->count, struct slice);
    int64_t *nids = arena_new_array(arena, portion->count, int64_t);
    size_t *at = arena_new_array(arena, portion->count, size_t), count = 0;
    for (size_t i = 0; i < portion->count; i++) {
        const struct portion_event *taken = &portion->events[i];
        if (!taken->nid || taken->result || !event_is_state(taken->event))
            continue;
        types[count] = taken->event->type;
        keys[count] = taken->event->state_key;
        at[count++] = i;
    }
    enum fault fault = FAULT_OK;
    for (size_t from = 0, rows; from < count && !fault; from += rows) {
        rows = pace_rows();
        rows = rows < count - from ? rows : count - from;
        int64_t start_us = clock_monotonic_us();
        fault = state_keys_intern(portion->call, types + from, keys + from, rows, nids + from);
        import_took(&portion->times, "state_keys", clock_monotonic_us() - start_us);
        pace_took(0, portion->times.last_us);
    }
    for (size_t i = 0; i < count && !fault; i++)
        out[at[i]] = nids[i];
    return fault;
}

static enum fault room_of_version(struct call *call, struct slice room_id, struct slice room_version, struct hot_room **room)
{
    const struct room_version *version = room_version_find(room_version);
    int64_t room_nid;
    if (!version)
        return FAULT_UNSUPPORTED_ROOM_VERSION;
    enum fault fault = hot_room_get(call, room_id, room);
    if (fault == FAULT_NOT_FOUND) {
        if ((fault = nid_take(call, &room_nid)))
            return fault;
        struct db_batch *batch = call_batch(call);
        q_room_insert(batch, room_nid, room_id, room_version);
        if ((fault = db_run(batch)))
            return fault;
        fault = hot_room_get(call, room_id, room);
    }
    if (fault || (*room)->version == version)
        return fault;
    call->why = SLICE("the room is known here with another version"); /* what is stored of it would not parse under this one */
    return FAULT_INCOMPATIBLE_ROOM_VERSION;
}

enum fault answer_room_import_events(struct call *call, const struct room_import_events_request *request,
                                     struct room_import_events_reply *reply)
{
    struct portion portion = {.call = call, .count = request->events.len};
    enum fault fault = room_of_version(call, request->room_id, request->room_version, &portion.room);
    if (fault)
        return fault;
    portion.events = arena_new_array(call->arena, portion.count, struct portion_event);
    int64_t *results = arena_new_array(call->arena, portion.count, int64_t);
    int64_t *nids = arena_new_array(call->arena, portion.count, int64_t);
    int64_t *key_nids = arena_new_array(call->arena, portion.count, int64_t);
    parse_all(&portion, request->events);
    if ((fault = store(&portion)) || (fault = intern(&portion, key_nids)))
        return fault;
    for (size_t i = 0; i < portion.count; i++) {
        results[i] = portion.events[i].result;
        nids[i] = portion.events[i].nid;
    }
    reply->longest_us = portion.times.longest_us;
    reply->results = (struct i64s){results, portion.count};
    reply->event_nids = (struct i64s){nids, portion.count};
    reply->state_key_nids = (struct i64s){key_nids, portion.count};
    return FAULT_OK;
}
