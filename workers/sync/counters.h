/* What sync counts besides the kit's own metrics. */
#ifndef MYELIN_SYNC_COUNTERS_H
#define MYELIN_SYNC_COUNTERS_H

#include "lib/kit/metrics.h"

struct sync_counters {
    struct metric *fast, *slow, *parked, *wakes, *gaps, *ring_bytes;
};
extern struct sync_counters counters;

void counters_start(void);

#endif
