/* The process's own threads and ears: streams that wake parked syncs, and the timer that ends typing and presence. */
#ifndef MYELIN_SYNC_LISTEN_H
#define MYELIN_SYNC_LISTEN_H

#include "lib/kit/worker.h"

enum fault sync_start(struct worker *worker);
void sync_stop(struct worker *worker);

#endif
