/* What other servers need not ask for again; lib/kit/sweep.h. */
#ifndef MYELIN_FEDERATION_SWEEP_H
#define MYELIN_FEDERATION_SWEEP_H

#include "lib/kit/worker.h"

void federation_sweeps_start(struct worker *worker);

#endif
