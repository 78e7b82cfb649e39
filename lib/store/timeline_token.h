/* Tokens of places in a room's timeline: "t<room_pos>" stands just before that event. A /sync token ("s<horizon>…") is accepted
 * wherever a timeline token is: it stands after the newest event that it has told. */
#ifndef MYELIN_STORE_TIMELINE_TOKEN_H
#define MYELIN_STORE_TIMELINE_TOKEN_H

#include "lib/kit/call.h"

struct slice timeline_token(struct arena *arena, int64_t before_room_pos);
/* INVALID_PARAM when it is no token. Reads the database for sync tokens only. *before: the room_pos it stands before. */
enum fault timeline_token_resolve(struct call *call, int64_t room_nid, struct slice token, int64_t *before);

#endif
