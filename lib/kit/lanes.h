/* Lanes (DESIGN §6): work with equal keys runs one after another in the order it came, work with different keys runs in parallel.
 * Order comes from this queue, so handlers need no mutexes for it. Key 0 has no order. Items belong to whoever pushed them. */
#ifndef MYELIN_KIT_LANES_H
#define MYELIN_KIT_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lane_item { /* the first member of what is queued */
    struct lane_item *next;
    uint64_t lane;
    size_t bytes; /* counted against a lane's share */
};
struct lanes;

struct lanes *lanes_create(void);
void lanes_destroy(struct lanes **lanes); /* must be empty */

void lanes_push(struct lanes *lanes, struct lane_item *item);
/* The same, but false when the lane has as much waiting as one may have, so that it cannot take the room of all others. One item
 * may always wait, however large. Key 0 has no bounds of its own. */
bool lanes_offer(struct lanes *lanes, struct lane_item *item, size_t waiting_most, size_t bytes_most);
/* Waits for an item whose lane is free, and takes that lane. NULL: closed, and nothing is left. */
struct lane_item *lanes_take(struct lanes *lanes);
/* The item last taken for this lane is done with (or parked): the next one may run. The item itself may be gone already. */
void lanes_finish(struct lanes *lanes, uint64_t lane);
void lanes_close(struct lanes *lanes); /* what is queued is still handed out */
int64_t lanes_queued(struct lanes *lanes);
int64_t lanes_running(struct lanes *lanes);

#endif
