/* What the two halves of an import share: import_events.c stores, import_join.c shows. */
#ifndef MYELIN_EVENTS_IMPORT_H
#define MYELIN_EVENTS_IMPORT_H

#include "lib/kit/call.h"

/* Each write transaction of an import must be short (DESIGN §8): the longest is told to who asked for the import, and logged there.
 */
struct import_times {
    int64_t longest_us;
};
enum fault import_run(struct db_batch *batch, struct import_times *times); /* db_run with a stopwatch */

#endif
