/* The auth DAG of a room; see auth_dag.h. Nodes are numbered in the order they come; a table of numbers finds them by nid. */
#include "workers/events/auth_dag.h"

#include <stdlib.h>

#include "lib/base/ensure.h"
#include "workers/events/queries.h"
#include "workers/events/room_write.h"

enum { STEPS = 4 /* down the chains, a trip each, before the rest is asked for in one */, TABLE_FIRST = 64 };
static const uint32_t NOWHERE = UINT32_MAX;

struct auth_dag {
    struct auth_dag_node *nodes;
    uint32_t count, capacity;
    uint32_t *table; /* index + 1; 0: free. Open addressing, at most half full */
    uint32_t table_mask;
    struct arena *edges;
};

struct auth_dag *auth_dag_create(void)
{
    struct auth_dag *dag = calloc(1, sizeof *dag);
    ensure(dag);
    dag->edges = arena_create(SIZE_MAX / 2);
    dag->table = calloc(TABLE_FIRST, sizeof *dag->table);
    ensure(dag->table);
    dag->table_mask = TABLE_FIRST - 1;
    return dag;
}

void auth_dag_destroy(struct auth_dag **dag)
{
    if (!*dag)
        return;
    arena_destroy(&(*dag)->edges);
    free((*dag)->nodes);
    free((*dag)->table);
    free(*dag);
    *dag = NULL;
}

size_t auth_dag_bytes(const struct auth_dag *dag)
{
    if (!dag)
        return 0;
    return sizeof *dag + dag->capacity * sizeof *dag->nodes + ((size_t)dag->table_mask + 1) * sizeof *dag->table +
           arena_used(dag->edges);
}

/* ---- the table */

/* Numbers that we gave ourselves, one after another: a multiplication spreads them. */
static uint32_t *place_of(const struct auth_dag *dag, int64_t nid)
{
    uint32_t at = (uint32_t)((uint64_t)nid * UINT64_C(0x9E3779B97F4A7C15) >> 32);
    for (;; at++) {
        uint32_t *place = &dag->table[at & dag->table_mask];
        if (*place == 0 || dag->nodes[*place - 1].nid == nid)
            return place;
    }
}

static uint32_t find(const struct auth_dag *dag, int64_t nid)
{
    uint32_t place = *place_of(dag, nid);
    return place ? place - 1 : NOWHERE;
}

uint32_t auth_dag_index(const struct auth_dag *dag, int64_t nid)
{
    uint32_t index = find(dag, nid);
    ensure(index != NOWHERE);
    return index;
}

const struct auth_dag_node *auth_dag_nodes(const struct auth_dag *dag, uint32_t *count)
{
    *count = dag->count;
    return dag->nodes;
}

static void grow(struct auth_dag *dag)
{
    dag->capacity = dag->capacity ? 2 * dag->capacity : TABLE_FIRST / 2;
    dag->nodes = realloc(dag->nodes, dag->capacity * sizeof *dag->nodes);
    free(dag->table);
    dag->table_mask = 2 * dag->capacity - 1;
    dag->table = calloc(2 * (size_t)dag->capacity, sizeof *dag->table);
    ensure(dag->nodes && dag->table && dag->capacity < UINT32_MAX / 4);
    for (uint32_t i = 0; i < dag->count; i++)
        *place_of(dag, dag->nodes[i].nid) = i + 1;
}

static void add_node(struct auth_dag *dag, int64_t nid, bool is_power_levels)
{
    if (dag->count == dag->capacity)
        grow(dag);
    *place_of(dag, nid) = dag->count + 1;
    dag->nodes[dag->count++] = (struct auth_dag_node){.nid = nid, .is_power_levels = is_power_levels};
}

/* ---- loading. Rows are collected down to what is present, then numbered, then tied to each other: a load that fails adds nothing.
 */
struct found {
    int64_t nid;
    struct i64s auth;
    bool is_power_levels;
};

enum { WANTED = 1, FOUND = 2 };

struct loading {
    struct room_write *write;
    const struct auth_dag *dag;
    struct map *known; /* nid → WANTED or FOUND */
    int64_t *wanted;   /* to be looked for in the next step */
    size_t wanted_count, wanted_capacity;
    struct found *found;
    size_t found_count, found_capacity;
};

static struct slice nid_key(const int64_t *nid)
{
    return slice_of(nid, sizeof *nid);
}

static const struct pending_event *pending_of(const struct room_write *write, int64_t nid)
{
    for (size_t i = 0; i < write->count; i++)
        if (write->events[i].nid == nid)
            return &write->events[i];
    return NULL;
}

/* Room for one more in an array of the call. */
static void *with_room(struct arena *arena, void *at, size_t size, size_t count, size_t *capacity)
{
    if (count < *capacity)
        return at;
    size_t old = *capacity;
    *capacity = old ? 2 * old : 64;
    return arena_grow(arena, at, old * size, *capacity * size);
}

static void mark(struct loading *loading, int64_t nid, int64_t as)
{
    int64_t *key = arena_new(loading->write->call->arena, int64_t);
    *key = nid;
    map_put_i64(loading->known, nid_key(key), as);
}

static void want(struct loading *loading, int64_t nid)
{
    if (find(loading->dag, nid) != NOWHERE || map_has(loading->known, nid_key(&nid)))
        return;
    mark(loading, nid, WANTED);
    loading->wanted =
        with_room(loading->write->call->arena, loading->wanted, sizeof nid, loading->wanted_count, &loading->wanted_capacity);
    loading->wanted[loading->wanted_count++] = nid;
}

static void add_found(struct loading *loading, struct found found)
{
    mark(loading, found.nid, FOUND);
    loading->found =
        with_room(loading->write->call->arena, loading->found, sizeof found, loading->found_count, &loading->found_capacity);
    loading->found[loading->found_count++] = found;
}

static void want_auth(struct loading *loading, struct i64s auth)
{
    for (size_t i = 0; i < auth.len; i++)
        want(loading, auth.at[i]);
}

/* Those of the write in hand are not stored yet; what stays in the list is the database's. */
static void take_pending(struct loading *loading)
{
    size_t left = 0;
    for (size_t i = 0; i < loading->wanted_count; i++) { /* the list grows on the way */
        int64_t nid = loading->wanted[i];
        const struct pending_event *pending = pending_of(loading->write, nid);
        if (!pending) {
            loading->wanted[left++] = nid;
            continue;
        }
        bool is_power_levels = event_is_state_of(pending->event, "m.room.power_levels", SLICE(""));
        add_found(loading, (struct found){nid, pending->auth_nids, is_power_levels});
        want_auth(loading, pending->auth_nids);
    }
    loading->wanted_count = left;
}

static enum fault load_step(struct loading *loading)
{
    struct db_batch *batch = call_batch(loading->write->call);
    struct db_result *result = q_auth_nodes(batch, (struct i64s){loading->wanted, loading->wanted_count});
    enum fault fault = db_run(batch);
    struct auth_nodes_row row;
    loading->wanted_count = 0;
    while (!fault && auth_nodes_next(result, &row)) {
        add_found(loading, (struct found){row.event_nid, row.auth_nids, row.is_power_levels});
        want_auth(loading, row.auth_nids);
    }
    return fault;
}

/* All that is left, however deep: power levels that were changed a thousand times are a chain of a thousand. */
static enum fault load_rest(struct loading *loading)
{
    struct db_batch *batch = call_batch(loading->write->call);
    struct db_result *result = q_auth_chain(batch, (struct i64s){loading->wanted, loading->wanted_count});
    enum fault fault = db_run(batch);
    struct auth_chain_row row;
    while (!fault && auth_chain_next(result, &row)) {
        int64_t known = 0;
        map_get_i64(loading->known, nid_key(&row.event_nid), &known);
        if (known != FOUND && find(loading->dag, row.event_nid) == NOWHERE)
            add_found(loading, (struct found){row.event_nid, row.auth_nids, row.is_power_levels});
    }
    return fault;
}

static void add_all(struct auth_dag *dag, const struct found *found, size_t count)
{
    uint32_t first = dag->count;
    for (size_t i = 0; i < count; i++)
        add_node(dag, found[i].nid, found[i].is_power_levels);
    for (size_t i = 0; i < count; i++) {
        struct auth_dag_node *node = &dag->nodes[first + i];
        uint32_t *auth = arena_new_array(dag->edges, found[i].auth.len, uint32_t);
        for (size_t k = 0; k < found[i].auth.len; k++) {
            auth[node->auth_count] = find(dag, found[i].auth.at[k]);
            ensure(auth[node->auth_count] != NOWHERE); /* nothing is stored before its auth events */
            node->auth_count++;
        }
        node->auth = auth;
    }
}

enum fault auth_dag_load(struct room_write *write, struct auth_dag *dag, struct i64s nids)
{
    struct loading loading = {.write = write, .dag = dag, .known = map_create(write->call->arena)};
    want_auth(&loading, nids);
    take_pending(&loading);
    for (int step = 0; step < STEPS && loading.wanted_count; step++) {
        enum fault fault = load_step(&loading);
        if (fault)
            return fault;
    }
    enum fault fault = loading.wanted_count ? load_rest(&loading) : FAULT_OK;
    if (!fault)
        add_all(dag, loading.found, loading.found_count);
    return fault;
}
