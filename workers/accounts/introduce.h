/* A user of ours who joins a room meets servers that may never have heard of his devices. */
#ifndef MYELIN_ACCOUNTS_INTRODUCE_H
#define MYELIN_ACCOUNTS_INTRODUCE_H

#include "lib/kit/worker.h"

void introductions_start(struct worker *worker); /* from worker_kind.start */

#endif
