/* Event rows as every kind reads them: in batches, by id or nid. `events` alone writes them. */
#ifndef MYELIN_STORE_EVENT_ROW_H
#define MYELIN_STORE_EVENT_ROW_H

#include "lib/kit/call.h"
#include "lib/matrix/event.h"

/* event.flags. Values are stored: never renumber. */
enum event_flag {
    EVENT_REJECTED = 1,    /* failed authorisation: in the DAG, never shown */
    EVENT_SOFT_FAILED = 2, /* allowed by its own state, not by the room's current one: not shown, not an extremity */
    EVENT_OUTLIER = 4,     /* no place in the timeline */
    EVENT_BACKFILLED = 8,  /* came as history */
    EVENT_LOCAL = 16,      /* ours to distribute: sent by a user of ours, or accepted here for another server's user */
    EVENT_STATE = 32,
};

struct event_row {
    int64_t event_nid, room_nid;
    int64_t room_pos; /* DB_NULL_I64 for outliers */
    int64_t pos, depth, origin_server_ts;
    int64_t snapshot_nid; /* state before it; 0 unknown */
    int64_t redacted_by;  /* event nid, or DB_NULL_I64 */
    int64_t replaces_nid; /* the state event it replaced; DB_NULL_I64 */
    int64_t flags;
    struct slice event_id, type, state_key, sender, json;
    struct i64s prev_nids, auth_nids;
    struct slice room_id, room_version; /* joined in */
};

struct event_rows {
    struct event_row *at;
    size_t count;
};

/* In the order of their nids, whatever order was asked for; unknown ones are left out. */
enum fault event_rows_by_nid(struct call *call, struct i64s nids, struct event_rows *out);
enum fault event_rows_by_id(struct call *call, struct slices event_ids, struct event_rows *out);
enum fault event_row_by_id(struct call *call, struct slice event_id, struct event_row *out); /* NOT_FOUND */
const struct event_row *event_rows_find(const struct event_rows *rows, int64_t event_nid);   /* of one of those answers; NULL */

/* Is snapshot_nid what stood before the event? Not for outliers, nor for history that came without its state. Of placed events only
 * the create event has nothing before it. */
bool event_row_state_is_known(const struct event_row *row);

/* Parses the stored bytes; asserts that they parse (we stored them). */
struct event *event_row_parse(struct arena *arena, const struct event_row *row);

/* What other servers get: a redacted event stays redacted for them too ("This stripped down event is thereafter returned anytime a
 * client or remote server requests it", Client-Server API "Redactions"). Everything that leaves by federation passes here. */
struct slice event_for_servers(struct arena *arena, struct slice room_version, struct slice json, bool is_redacted);
struct slice event_row_for_servers(struct arena *arena, const struct event_row *row);

/* ---- timeline pages: not rejected, not soft-failed, not outliers. from, to: room_pos, exclusive. newest_first: from > to.
 * out is in the order asked for. */
enum fault timeline_page(struct call *call, int64_t room_nid, int64_t from, int64_t to, bool newest_first, int64_t limit,
                         struct event_rows *out);

#endif
