/* What the two halves of an import share: import_events.c stores, import_join.c shows. */
#ifndef MYELIN_EVENTS_IMPORT_H
#define MYELIN_EVENTS_IMPORT_H

#include "lib/kit/call.h"

/* Each write transaction of an import must be short (DESIGN §8). They are counted in a histogram, by step; the last one's duration
 * says how many rows the next one gets (import_pace.h); the longest is told to who asked for the import, and logged there. What is
 * measured is never shorter than what the horizon is held back for: the way to PostgreSQL and back is in it. */
struct import_times {
    int64_t last_us, longest_us;
};
/* db_run with a stopwatch */
enum fault import_run(struct db_batch *batch, struct import_times *times, const char *step);
/* for those that are more than one db_run */
void import_took(struct import_times *times, const char *step, int64_t took_us);

#endif
