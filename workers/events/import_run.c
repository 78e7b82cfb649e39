/* The write transactions of an import run here, with a stopwatch; see import.h. */
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/kit/metrics.h"
#include "workers/events/import.h"

void import_took(struct import_times *times, const char *step, int64_t took_us)
{
    char label[40];
    snprintf(label, sizeof label, "step=\"%s\"", step);
    /* Looked up each time: that is nothing beside a transaction. */
    struct metric *writes =
        metric_histogram_ms("myelin_events_import_write_ms",
                            "Write transactions of imports: how long they hold the horizon back, and the way there", label);
    metric_observe_us(writes, took_us);
    times->last_us = took_us;
    if (took_us > times->longest_us)
        times->longest_us = took_us;
}

enum fault import_run(struct db_batch *batch, struct import_times *times, const char *step)
{
    int64_t start_us = clock_monotonic_us();
    enum fault fault = db_run(batch);
    import_took(times, step, clock_monotonic_us() - start_us);
    return fault;
}
