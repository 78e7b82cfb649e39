/* Interned numbers for rooms, events and snapshots: taken from the database in blocks of NID_BLOCK and handed out of memory, so
 * that a write batch knows its keys before it is sent. What a killed process had left is lost, which is harmless. Any thread. */
#ifndef MYELIN_EVENTS_NIDS_H
#define MYELIN_EVENTS_NIDS_H

#include "lib/kit/call.h"

enum { NID_BLOCK = 1000 }; /* INCREMENT of the sequence nid_block */

enum fault nids_take(struct call *call, size_t count, int64_t *out);
static inline enum fault nid_take(struct call *call, int64_t *out)
{
    return nids_take(call, 1, out);
}

#endif
