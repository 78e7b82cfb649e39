/* Changed device lists of our users (Server-Server API "Device Management"): local listeners learn by the row's position, other
 * servers by m.device_list_update and m.signing_key_update. What they have not been told waits in device_list_pending, written in
 * the same transaction, so that nothing is lost when a process dies between the commit and the word. */
#ifndef MYELIN_ACCOUNTS_DEVICE_LISTS_H
#define MYELIN_ACCOUNTS_DEVICE_LISTS_H

#include "workers/accounts/changes.h"

#define CROSS_SIGNING SLICE("") /* stands among device ids for the user's cross-signing keys */

/* Adds the change to an open transaction and runs its step. */
enum fault device_list_bump(struct db_batch *transaction, struct slice user_id, struct slices device_ids, struct changes *changes);
/* After the commit: hands what is pending to the sender. When that fails the sweep does it later. */
void device_lists_tell(struct call *call, struct slice user_id);

#endif
