/* Inviting one user: ours directly, others through their server, which must sign the event (Server-Server API "Inviting to a
 * room"). */
#ifndef MYELIN_ROOMS_INVITE_H
#define MYELIN_ROOMS_INVITE_H

#include "lib/kit/call.h"

struct invite_failure {
    int64_t peer_status; /* PEER_REFUSED: what the other server said */
    struct slice peer_body;
};
enum fault invite(struct call *call, struct slice room_id, struct slice user_id, struct slice reason, bool is_direct,
                  struct invite_failure *failure);
struct reply invite_fail(struct call *call, enum fault fault, const struct invite_failure *failure);

#endif
