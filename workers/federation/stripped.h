/* The stripped state that goes with invites and knocks (Client-Server API "Stripped state"). */
#ifndef MYELIN_FEDERATION_STRIPPED_H
#define MYELIN_FEDERATION_STRIPPED_H

#include "lib/store/room_read.h"

/* A JSON array. The create event is a full PDU, as servers must be able to check it (room version 12 and MSC4311); the others are
 * stripped. */
enum fault stripped_state(struct call *call, int64_t room_nid, struct slice *out);

#endif
