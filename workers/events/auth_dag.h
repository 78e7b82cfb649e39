/* The auth DAG of a room as integers (DESIGN §9): which events cite which. State resolution walks it; contents are loaded only for
 * the few events that it judges. Part of a hot room and, like it, used by one call at a time. Whatever is in it is in it with its
 * whole auth chain. An event of a write that was never committed may stay: its number is never given again. */
#ifndef MYELIN_EVENTS_AUTH_DAG_H
#define MYELIN_EVENTS_AUTH_DAG_H

#include "lib/kit/call.h"

struct auth_dag;
struct room_write;

struct auth_dag_node {
    int64_t nid;
    const uint32_t *auth; /* indices; they stay */
    uint32_t auth_count;
    bool is_power_levels; /* m.room.power_levels with state_key "" */
};

struct auth_dag *auth_dag_create(void);
void auth_dag_destroy(struct auth_dag **dag);
size_t auth_dag_bytes(const struct auth_dag *dag);

/* Makes the events present, stored ones and those of the write in hand. A trip for each step down that is not known; deep chains in
 * one. */
enum fault auth_dag_load(struct room_write *write, struct auth_dag *dag, struct i64s nids);
uint32_t auth_dag_index(const struct auth_dag *dag, int64_t nid); /* of a present one */
/* All nodes, by index; valid until the next load. */
const struct auth_dag_node *auth_dag_nodes(const struct auth_dag *dag, uint32_t *count);

#endif
