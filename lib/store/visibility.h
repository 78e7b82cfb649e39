/* Who may see which event: m.room.history_visibility (Client-Server API "Room history visibility"; Server-Server: the same for
 * servers). */
#ifndef MYELIN_STORE_VISIBILITY_H
#define MYELIN_STORE_VISIBILITY_H

#include "lib/store/event_row.h"

/* Sets visible[i] for each row: the state before (and, for the user's own membership and the visibility event itself, after) the
 * event decides. Rows of one room. memberships (optional): the user's membership at each event, for unsigned.membership ("leave"
 * when none). */
enum fault visible_to_user(struct call *call, const struct event_rows *rows, struct slice user_id, bool *visible,
                           struct slice *memberships);
/* For a server: it had a joined (or, visibility invited, invited) member then, or the history is shared/world_readable and it is in
 * the room. */
enum fault visible_to_server(struct call *call, const struct event_rows *rows, struct slice server, bool *visible);
bool room_is_world_readable(struct call *call, int64_t room_nid, enum fault *fault); /* now */

#endif
