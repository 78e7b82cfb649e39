/* Tokens of places in a room's timeline: "t<room_pos>" stands just before that event. A /sync token ("s<horizon>…") is accepted
 * wherever a timeline token is: it stands after the newest event that it has told. */
#ifndef MYELIN_STORE_TIMELINE_TOKEN_H
#define MYELIN_STORE_TIMELINE_TOKEN_H

#include "lib/kit/call.h"

struct slice timeline_token(struct arena *arena, int64_t before_room_pos);

/* What a token says. Of a /sync token (workers/sync/README.md, "Token") only what concerns timelines:
 * s<xmin>[x<xmax>.<running>…]…[~<event nid>…]. */
#define TIMELINE_FIRST (INT64_MIN + 2) /* places are clamped, so that their neighbours are numbers and not DB_NULL_I64 */
#define TIMELINE_LAST (INT64_MAX - 2)
struct timeline_point {
    bool is_place;
    int64_t before;     /* places: the room_pos it stands before */
    int64_t xmin, xmax; /* /sync tokens: below xmin everything was seen, from xmax on nothing */
    struct i64s running, delivered;
};
bool timeline_token_parse(struct arena *arena, struct slice token, struct timeline_point *out);
/* INVALID_PARAM when it is no token. Reads the database for sync tokens only. *before: the room_pos it stands before. */
enum fault timeline_token_resolve(struct call *call, int64_t room_nid, struct slice token, int64_t *before);

#endif
