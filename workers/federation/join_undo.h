/* Joins that the other server accepted and that came to nothing here. */
#ifndef MYELIN_FEDERATION_JOIN_UNDO_H
#define MYELIN_FEDERATION_JOIN_UNDO_H

#include "lib/kit/call.h"

struct join_debt;
/* From here on the user counts as a member at `server`. Unless join_debt_paid is called before the call ends, however it ends, a
 * leave is sent there in the background, once: else a ghost would stay in the room's member list, and be sent its messages. */
struct join_debt *join_debt_owe(struct call *call, struct slice room_id, struct slice user_id, struct slice server);
void join_debt_paid(struct join_debt *debt);

#endif
