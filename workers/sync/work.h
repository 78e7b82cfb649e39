/* One /sync on the SQL path: what the steps share. The steps, in order (full_path.c): rooms, timelines, states, the rest of
 * each room; then the transaction is over, and what needs other reads (visibility, rendering) follows. */
#ifndef MYELIN_SYNC_WORK_H
#define MYELIN_SYNC_WORK_H

#include "lib/base/map.h"
#include "lib/store/event_row.h"
#include "workers/sync/request.h"

struct row_list {
    struct event_row *at;
    size_t count, capacity;
};

enum section { SECTION_NONE, SECTION_JOIN, SECTION_LEAVE, SECTION_INVITE, SECTION_KNOCK };

struct sync_room {
    int64_t room_nid, member_nid, since_pos, head_pos;
    struct slice room_id, room_version, membership;
    struct slice stripped_state, member_json; /* invites and knocks */
    struct row_list offered;                  /* of a room that is here: what the invited may know of it */
    enum section section;
    bool is_new; /* the user's membership changed */
    bool has_news;
    bool newly_joined; /* was not in it when the token was made, or not all the time since */
    bool entire;       /* timeline and state from scratch */
    bool ended;        /* the user's newest membership event says leave or ban */
    bool was_out;      /* at some time since the token */
    /* timeline, oldest first */
    struct row_list timeline;
    struct slice *memberships; /* the reader's at each of them */
    bool limited;
    int64_t prev_pos; /* prev_batch stands before it */
    /* state */
    struct row_list state;
    bool members_changed;
    /* others */
    struct slice receipts;     /* content of m.receipt; absent: none */
    struct slice account_data; /* array of events; absent: none */
    struct slice typing;       /* m.typing event; absent: unchanged */
    bool is_told;              /* joined rooms: there is something to tell */
    int64_t joined, invited;
    struct slices heroes;
    bool has_summary;
    struct unread *unread;
};

struct sync_work {
    struct call *call;
    const struct sync_request *request;
    struct slice since;     /* the client's snapshot in SQL's form */
    struct sync_token next; /* the token of the answer */
    struct db_batch *batch; /* the transaction while it lasts */
    struct sync_room *rooms;
    size_t room_count;
    struct map *by_id, *by_nid; /* → struct sync_room * */
    struct map *ignored;        /* user ids */
    const struct json *push_rules;
    struct slices topics; /* what to park on */
    /* sections outside rooms: JSON made ready, absent when empty */
    struct slice account_data, to_device, presence, one_time_keys, fallback_keys;
    struct slices devices_changed, devices_left;
    bool to_device_done; /* acknowledged messages are still stored */
    bool anything;       /* there is something to tell */
};

void row_list_add(struct arena *arena, struct row_list *list, const struct event_row *row);
bool row_list_has(const struct row_list *list, int64_t event_nid);
/* The rooms of a section, or those that match: their nids, and the rooms themselves in the same order. */
size_t rooms_where(struct sync_work *work, bool (*matches)(const struct sync_room *room), struct sync_room ***out,
                   struct i64s *nids);

/* The conversion of the generated rows of queries.sql, which all name the event's columns alike. */
#define EVENT_ROW_OF(row, room) \
    ((struct event_row){.event_nid = (row).event_nid, \
                        .room_nid = (room)->room_nid, \
                        .room_pos = (row).room_pos, \
                        .pos = (row).pos, \
                        .depth = (row).depth, \
                        .origin_server_ts = (row).origin_server_ts, \
                        .snapshot_nid = (row).snapshot_nid, \
                        .redacted_by = (row).redacted_by, \
                        .replaces_nid = (row).replaces_nid, \
                        .flags = (row).flags, \
                        .event_id = (row).event_id, \
                        .type = (row).type, \
                        .state_key = (row).state_key, \
                        .sender = (row).sender, \
                        .json = (row).json, \
                        .room_id = (room)->room_id, \
                        .room_version = (room)->room_version})

/* ---- the steps. Those that ask and take share one trip. */
struct timelines {
    struct sync_room **rooms;
    struct i64s nids;
    struct db_result *result;
};
struct states {
    struct sync_room **rooms;
    struct i64s nids;
    struct db_result *result;
};
enum fault rooms_read(struct sync_work *work); /* rooms.c: also everything that is not of rooms */
void timelines_ask(struct sync_work *work, struct timelines *timelines);
void timelines_take(struct sync_work *work, const struct timelines *timelines);
void states_ask(struct sync_work *work, struct states *states);
void states_take(struct sync_work *work, const struct states *states);
enum fault members_read(struct sync_work *work); /* members.c: summaries, and whose device lists matter now or no more */
/* After the transaction: */
enum fault left_rooms_read(struct sync_work *work);                 /* left.c: the state that those who left see */
enum fault timelines_admit(struct sync_work *work);                 /* visibility, ignored users, contents */
enum fault states_settle(struct sync_work *work);                   /* state.c: what of the state is told */
enum fault unread_count(struct sync_work *work);                    /* unread.c */
enum fault invites_read(struct sync_work *work);                    /* invites.c */
enum fault answer_write(struct sync_work *work, struct slice *out); /* answer.c */

#endif
