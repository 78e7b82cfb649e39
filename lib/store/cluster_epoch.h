/* The installation's epoch: it grows when the database is restored into another cluster, where transaction numbers start over
 * (lib/kit/migrate_epoch.c). A sync token of another epoch says nothing of this one: whoever comes with it starts over, cheaply. */
#ifndef MYELIN_STORE_CLUSTER_EPOCH_H
#define MYELIN_STORE_CLUSTER_EPOCH_H

#include "lib/kit/call.h"

/* Read once in a process's life: it changes only while no worker runs. */
enum fault cluster_epoch(struct call *call, int64_t *epoch);
/* Of a sync token's text: the number behind "_g", 1 without one. */
int64_t token_epoch(struct slice sync_token);

#endif
