/* A thread that tidies: what expired goes, what other servers have not been told is tried again, and guests leave rooms that closed
 * to them. */
#ifndef MYELIN_ACCOUNTS_SWEEP_H
#define MYELIN_ACCOUNTS_SWEEP_H

#include "lib/kit/worker.h"

void sweep_start(struct worker *worker);
void sweep_stop(struct worker *worker);

#endif
