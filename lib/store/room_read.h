/* What other kinds ask about rooms: read-only. */
#ifndef MYELIN_STORE_ROOM_READ_H
#define MYELIN_STORE_ROOM_READ_H

#include "lib/store/event_row.h"

struct room_facts {
    int64_t room_nid, version, depth, head_pos, tail_pos, snapshot_nid;
    struct slice room_id, room_version;
    struct i64s extremities;
};
enum fault room_find(struct call *call, struct slice room_id, struct room_facts *out); /* NOT_FOUND: never heard of it */

struct membership_row {
    int64_t room_nid, event_nid, since_pos, pos;
    bool is_local, is_forgotten;
    struct slice user_id, server, membership, displayname, avatar_url, stripped_state;
};
/* NOT_FOUND when there is none. */
enum fault membership_find(struct call *call, int64_t room_nid, struct slice user_id, struct membership_row *out);
enum fault membership_list(struct call *call, int64_t room_nid, struct slice membership /* absent: all */,
                           struct membership_row **out, size_t *count);
bool server_is_joined(struct call *call, int64_t room_nid, struct slice server, enum fault *fault);
enum fault room_servers(struct call *call, int64_t room_nid, struct slices *out); /* with joined members, most members first */

/* Current state: one event, or all. NOT_FOUND when there is none. */
enum fault current_state_event(struct call *call, int64_t room_nid, const char *type, struct slice state_key,
                               struct event_row *out);
enum fault current_state_events(struct call *call, int64_t room_nid, struct event_rows *out);

#endif
