/* A kind's tidying (lib/kit/sweep.h): what expired goes, what other servers have not been told is tried again, and guests leave
 * rooms that closed to them. */
#ifndef MYELIN_ACCOUNTS_SWEEP_H
#define MYELIN_ACCOUNTS_SWEEP_H

#include "lib/kit/worker.h"

void accounts_sweeps_start(struct worker *worker);

#endif
