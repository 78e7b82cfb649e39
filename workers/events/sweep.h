/* What of the rooms' tables is past its time; lib/kit/sweep.h. */
#ifndef MYELIN_EVENTS_SWEEP_H
#define MYELIN_EVENTS_SWEEP_H

#include "lib/kit/worker.h"

void events_sweeps_start(struct worker *worker);

#endif
