/* Removing devices: tokens, keys, messages that wait, settings. All ways out of a session end here. */
#ifndef MYELIN_ACCOUNTS_DEVICE_REMOVE_H
#define MYELIN_ACCOUNTS_DEVICE_REMOVE_H

#include "workers/accounts/changes.h"

/* Adds the removal to an open transaction and runs it; what is to be published after the commit goes to changes. */
enum fault devices_remove_in(struct call *call, struct db_batch *transaction, struct slice user_id, struct slices device_ids,
                             struct changes *changes);
/* The whole: transaction, publication, and word to other servers. */
enum fault devices_remove(struct call *call, struct slice user_id, struct slices device_ids);
/* The user's devices but one (absent: all). */
enum fault devices_except(struct call *call, struct slice user_id, struct slice kept, struct slices *out);

#endif
