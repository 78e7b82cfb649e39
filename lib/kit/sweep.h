/* Tidying of a kind's tables: what is past its time goes (schema/OWNERS says which and when). One thread with a small stack; a
 * round comes each sweep_interval, at a random point of it, so that replicas do not meet. Every replica sweeps: a sweep takes one
 * small batch of rows, passes over those that another one holds (SKIP LOCKED), and may be done twice. The metric
 * myelin_swept_rows_total counts. */
#ifndef MYELIN_KIT_SWEEP_H
#define MYELIN_KIT_SWEEP_H

#include "lib/kit/worker.h"

enum { SWEEP_ROWS = 500 }; /* of a batch: some milliseconds, so that streams do not wait */

struct sweep {
    const char *what; /* the table */
    /* One batch; *removed: how many rows went. Called again at once while that is SWEEP_ROWS or more. */
    enum fault (*run)(struct call *call, int64_t *removed);
};

/* From the kind's start and stop. The list lives on. */
void sweeps_start(struct worker *worker, const struct sweep *sweeps, size_t count);
void sweeps_stop(struct worker *worker);

#endif
