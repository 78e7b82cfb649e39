/* Keys that nobody will ask for; lib/kit/sweep.h. */
#ifndef MYELIN_KEYS_SWEEP_H
#define MYELIN_KEYS_SWEEP_H

#include "lib/kit/worker.h"

void keys_sweeps_start(struct worker *worker);

#endif
