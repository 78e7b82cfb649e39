/* When and from where a device was last seen (Client-Server API "Device management"): every client syncs, so we see them all. */
#ifndef MYELIN_SYNC_SEEN_H
#define MYELIN_SYNC_SEEN_H

#include "lib/kit/call.h"

/* Tells `accounts`, every ten minutes per device at most. Best effort. */
void device_seen_note(struct call *call);

#endif
