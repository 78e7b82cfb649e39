/* The reset guard (DESIGN §9): a resolution that leaves fewer members or less power than any of its inputs had is legal but
 * suspicious. It is logged, counted, and what it was made from is kept in state_reset for repair. */
#ifndef MYELIN_EVENTS_RESET_GUARD_H
#define MYELIN_EVENTS_RESET_GUARD_H

#include "workers/events/room_write.h"

/* disputed: what each input had where they differ; settled: what came of it; loaded: nid → parsed event, all of these are there.
 * The evidence is stored with the write. */
void reset_guard(struct room_write *write, const struct state_map *disputed, size_t count, struct state_map settled,
                 const struct map *loaded);
/* Its row in the write's batch, if there is any. */
void reset_guard_add(struct db_batch *batch, const struct room_write *write);

#endif
