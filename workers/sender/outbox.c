/* messages enqueue_edus and destination_up. Any worker takes them. EDUs that must arrive are stored before the answer; the owner of
 * the destination's slot sends them: at once when that is us, else it finds them within a quarter of a second. The others are sent
 * by whoever got them, in transactions of its own: between EDUs of different workers no order is promised. */
#include "workers/sender/outbox.h"

#include "lib/base/clock.h"
#include "lib/base/map.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "workers/sender/destination.h"
#include "workers/sender/distributor.h"
#include "workers/sender/pool.h"
#include "workers/sender/queries.h"

#define EXPIRE_AFTER_MS (INT64_C(28) * 24 * 3600 * 1000)

static bool is_other_server(struct slice server)
{
    return server_name_is_valid(server) && !slice_eq(server, server_name());
}

/* ---- enqueue_edus */

struct rows {
    struct slice *servers, *types, *coalesce_keys, *contents;
    int64_t *slots, *priorities;
    size_t count;
};

/* Of rows that replace each other in the table the last one stays: one statement may not touch a row twice. */
static void rows_add(struct arena *arena, struct rows *rows, struct map *places, const struct enqueue_edus_request *request,
                     size_t i)
{
    struct slice server = request->destinations.at[i], type = request->types.at[i], key = request->coalesce_keys.at[i];
    int64_t at = (int64_t)rows->count;
    if (!slice_is_absent(key)) {
        struct slice parts[] = {server, SLICE("\n"), type, SLICE("\n"), key};
        struct slice whole = arena_concat(arena, parts, sizeof parts / sizeof parts[0]);
        if (map_get_i64(places, whole, &at)) {
            rows->contents[at] = request->contents.at[i];
            return;
        }
        map_put_i64(places, whole, at);
    }
    rows->servers[at] = server;
    rows->types[at] = type;
    rows->coalesce_keys[at] = key;
    rows->contents[at] = request->contents.at[i];
    rows->slots[at] = slot_of(server);
    rows->priorities[at] = edu_priority_of(type);
    rows->count++;
}

static enum fault store(struct call *call, const struct enqueue_edus_request *request)
{
    size_t all = request->destinations.len;
    struct arena *arena = call->arena;
    struct rows rows = {.servers = arena_new_array(arena, all, struct slice),
                        .types = arena_new_array(arena, all, struct slice),
                        .coalesce_keys = arena_new_array(arena, all, struct slice),
                        .contents = arena_new_array(arena, all, struct slice),
                        .slots = arena_new_array(arena, all, int64_t),
                        .priorities = arena_new_array(arena, all, int64_t)};
    struct map *places = map_create(arena);
    for (size_t i = 0; i < all; i++) {
        if (is_other_server(request->destinations.at[i]))
            rows_add(arena, &rows, places, request, i);
    }
    if (!rows.count)
        return FAULT_OK;
    size_t n = rows.count;
    struct db_batch *batch = call_batch(call);
    q_outbox_store(batch, (struct slices){rows.servers, n}, (struct i64s){rows.slots, n}, (struct i64s){rows.priorities, n},
                   (struct slices){rows.types, n}, (struct slices){rows.coalesce_keys, n}, (struct slices){rows.contents, n},
                   clock_wall_ms());
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    destinations_lock();
    for (size_t i = 0; i < n; i++) {
        if (!distributor_owns((int)rows.slots[i]))
            continue;
        struct destination *destination = destination_get(rows.servers[i]);
        destination->has_outbox = true;
        pool_poke(destination);
    }
    destinations_unlock();
    return FAULT_OK;
}

static void queue(const struct enqueue_edus_request *request)
{
    destinations_lock();
    for (size_t i = 0; i < request->destinations.len; i++) {
        if (!is_other_server(request->destinations.at[i]))
            continue;
        struct destination *destination = destination_get(request->destinations.at[i]);
        bool is_failing = backoff_is_failing(&destination->backoff);
        if (is_failing && edu_priority_of(request->types.at[i]) >= EDU_TYPING)
            continue; /* old news by the next attempt */
        edu_queue_put(&destination->edus, request->types.at[i], request->coalesce_keys.at[i], request->contents.at[i]);
        pool_poke(destination);
    }
    destinations_unlock();
}

enum fault answer_enqueue_edus(struct call *call, const struct enqueue_edus_request *request, struct enqueue_edus_reply *reply)
{
    size_t count = request->destinations.len;
    if (request->types.len != count || request->coalesce_keys.len != count || request->contents.len != count)
        return FAULT_INVALID_PARAM;
    for (size_t i = 0; i < count; i++) { /* one that cannot be signed would hold up all others for ever */
        if (!json_is(json_parse(call->arena, request->contents.at[i], JSON_CANONICAL, NULL), JSON_OBJECT)) {
            call->why = SLICE("an EDU's content is not a canonical JSON object");
            return FAULT_INVALID_PARAM;
        }
    }
    if (request->durable)
        return store(call, request);
    queue(request);
    return FAULT_OK;
}

/* ---- destination_up */

enum fault answer_destination_up(struct call *call, const struct destination_up_request *request,
                                 struct destination_up_reply *reply)
{
    enum { ASK_AGAIN_MS = 2000 };
    struct slice *others = arena_new_array(call->arena, request->destinations.len, struct slice);
    size_t count = 0;
    int64_t now_ms = clock_monotonic_ms();
    destinations_lock();
    for (size_t i = 0; i < request->destinations.len; i++) {
        struct slice server = request->destinations.at[i];
        if (!is_other_server(server))
            continue;
        struct destination *destination = destination_get(server);
        destination->is_proven = true;
        if (backoff_is_failing(&destination->backoff)) {
            backoff_wake(&destination->backoff);
            pool_poke(destination);
        }
        /* Its owner may be another worker, which knows it as failing: told through the table, and not for each transaction. */
        if (!distributor_owns(destination->slot) && now_ms >= destination->told_up_ms + ASK_AGAIN_MS) {
            destination->told_up_ms = now_ms;
            others[count++] = server;
        }
    }
    destinations_unlock();
    if (!count)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    q_destinations_wake(batch, (struct slices){others, count});
    return db_run(batch);
}

/* ---- for the distributor */

enum fault outbox_sweep(struct call *call, uint64_t slots)
{
    int64_t *numbers = arena_new_array(call->arena, SLOT_COUNT, int64_t);
    size_t count = 0;
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        if (slots >> slot & 1)
            numbers[count++] = slot;
    }
    struct db_batch *batch = call_batch(call);
    struct db_result *waiting = q_outbox_servers(batch), *woken = q_destinations_woken(batch, (struct i64s){numbers, count});
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    destinations_lock();
    for (struct outbox_servers_row row; outbox_servers_next(waiting, &row);) {
        if (!(slots >> row.slot & 1) || !distributor_owns((int)row.slot))
            continue;
        struct destination *destination = destination_get(row.server);
        destination->has_outbox = true;
        pool_poke(destination);
    }
    for (struct destinations_woken_row row; destinations_woken_next(woken, &row);) {
        struct destination *destination = destination_get(row.server);
        if (!distributor_owns(destination->slot) || !backoff_is_failing(&destination->backoff))
            continue;
        backoff_wake(&destination->backoff);
        pool_poke(destination);
    }
    destinations_unlock();
    return FAULT_OK;
}

enum fault outbox_expire(struct call *call)
{
    struct db_batch *batch = call_batch(call);
    q_outbox_expire(batch, clock_wall_ms() - EXPIRE_AFTER_MS);
    return db_run(batch);
}
