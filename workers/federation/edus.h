/* EDUs of a transaction: to the kind that owns them, without what the rooms' ACLs forbid. */
#ifndef MYELIN_FEDERATION_EDUS_H
#define MYELIN_FEDERATION_EDUS_H

#include "workers/federation/room_access.h"

enum { EDUS_MAX = 100 };
/* An EDU that cannot be taken is left out and logged: no other, and no PDU of the transaction, suffers for it. A fault is ours.
 * seen: room_standing_get. */
enum fault edus_pass_on(struct call *call, struct map *seen, const struct json *edus);

#endif
