/* History visibility, step by step as the Client-Server API's "Room history visibility" has it; see visibility.h. */
#include "lib/store/visibility.h"

#include "lib/store/departure.h"
#include "lib/matrix/ids.h"
#include "lib/store/queries.h"
#include "lib/store/room_read.h"
#include "lib/store/state_snapshot.h"

#include <stdlib.h>

enum visibility { WORLD_READABLE, SHARED, INVITED, JOINED }; /* most permissive first */

static enum visibility visibility_of(const struct json *content)
{
    struct slice value = json_get_string(content, "history_visibility");
    if (slice_eq(value, SLICE("world_readable")))
        return WORLD_READABLE;
    if (slice_eq(value, SLICE("invited")))
        return INVITED;
    if (slice_eq(value, SLICE("joined")))
        return JOINED;
    return SHARED; /* also the default when there is no such event */
}

/* The states before the rows, and the contents of the few state events that matter in them. */
struct past {
    struct state_chain *chains; /* per row; shared snapshots share layers */
    struct i64s nids;           /* the events below, ascending */
    const struct json **contents;
    enum visibility assumed; /* see assume_setting */
    int64_t assumed_above;
};

static enum fault chains_of_rows(struct call *call, const struct event_rows *rows, struct state_chain **out)
{
    int64_t *wanted = arena_new_array(call->arena, rows->count, int64_t);
    for (size_t i = 0; i < rows->count; i++)
        wanted[i] = rows->at[i].snapshot_nid;
    *out = arena_new_array(call->arena, rows->count, struct state_chain);
    return state_chains_load(call, (struct i64s){wanted, rows->count}, *out);
}

static int by_number(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* past->nids.len when it is not among them. */
static size_t nid_index(const struct past *past, int64_t nid)
{
    const int64_t *found = past->nids.len ? bsearch(&nid, past->nids.at, past->nids.len, sizeof nid, by_number) : NULL;
    return found ? (size_t)(found - past->nids.at) : past->nids.len;
}

static enum fault contents_load(struct call *call, int64_t *nids, size_t count, struct past *past)
{
    size_t unique = 0;
    if (count > 1)
        qsort(nids, count, sizeof *nids, by_number);
    for (size_t i = 0; i < count; i++)
        if (nids[i] != 0 && (unique == 0 || nids[unique - 1] != nids[i]))
            nids[unique++] = nids[i];
    past->nids = (struct i64s){nids, unique};
    past->contents = arena_new_array(call->arena, unique, const struct json *);
    if (unique == 0)
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_event_json_by_nid(batch, past->nids);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    struct event_json_by_nid_row row;
    while (event_json_by_nid_next(result, &row))
        past->contents[nid_index(past, row.event_nid)] =
            json_get_object(json_parse(call->arena, row.json, JSON_LAX, NULL), "content");
    return FAULT_OK;
}

static const struct json *content_of(const struct past *past, int64_t nid)
{
    size_t index = nid_index(past, nid);
    return index < past->nids.len ? past->contents[index] : NULL;
}

static const struct json *row_content(struct call *call, const struct event_row *row)
{
    return json_get_object(json_parse(call->arena, row->json, JSON_LAX, NULL), "content");
}

/* "m.room.history_visibility" events themselves are seen under the more permissive of the old and the new setting. */
static enum visibility visibility_at(struct call *call, const struct past *past, const struct event_row *row, int64_t setting_nid)
{
    enum visibility before = visibility_of(content_of(past, setting_nid));
    if (!event_row_state_is_known(row))
        before = row->depth > past->assumed_above ? past->assumed : JOINED;
    if (!slice_eq(row->type, SLICE("m.room.history_visibility")) || slice_is_absent(row->state_key) || row->state_key.len)
        return before;
    enum visibility after = visibility_of(row_content(call, row));
    return after < before ? after : before;
}

/* History may have come without the state before it (events/receive.c), and then neither the setting nor the memberships of that
 * time are known. "shared", the default of a room without the event, would tell a room's hidden past to everyone who asks us,
 * because it was shown to us. What we do know is the room's present setting: it holds back to the event that made it. Events deeper
 * than that one are judged by it, earlier ones by the strictest, and nobody counts as a member then but who sent the event. */
static enum fault assume_setting(struct call *call, const struct event_rows *rows, struct past *past)
{
    struct event_row setting;
    size_t known = 0;
    past->assumed = SHARED;
    past->assumed_above = INT64_MIN;
    while (known < rows->count && event_row_state_is_known(&rows->at[known]))
        known++;
    if (known == rows->count)
        return FAULT_OK;
    enum fault fault = current_state_event(call, rows->at[0].room_nid, "m.room.history_visibility", SLICE(""), &setting);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    past->assumed = visibility_of(row_content(call, &setting));
    past->assumed_above = setting.depth;
    return FAULT_OK;
}

/* Until where someone who was in the room may read shared history: the end, his departure, or nothing when he never was in. */
static enum fault reader_until(struct call *call, int64_t room_nid, struct slice user_id, int64_t *until)
{
    struct membership_row now;
    *until = INT64_MIN;
    enum fault fault = membership_find(call, room_nid, user_id, &now);
    if (fault == FAULT_NOT_FOUND)
        return FAULT_OK;
    if (fault)
        return fault;
    if (slice_eq(now.membership, SLICE("join"))) {
        *until = INT64_MAX;
        return FAULT_OK;
    }
    struct event_row departure;
    if (!slice_eq(now.membership, SLICE("leave")) && !slice_eq(now.membership, SLICE("ban")))
        return FAULT_OK;
    fault = departure_find(call, now.event_nid, &departure);
    if (!fault)
        *until = departure.room_pos;
    return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
}

enum fault visible_to_user(struct call *call, const struct event_rows *rows, struct slice user_id, bool *visible,
                           struct slice *memberships)
{
    if (rows->count == 0)
        return FAULT_OK;
    enum fault fault;
    int64_t until, keys[2];
    const struct slice types[2] = {SLICE("m.room.history_visibility"), SLICE("m.room.member")};
    const struct slice state_keys[2] = {SLICE(""), user_id};
    struct past past = {0};
    if ((fault = reader_until(call, rows->at[0].room_nid, user_id, &until)) ||
        (fault = state_key_find(call, types, state_keys, 2, keys)) || (fault = chains_of_rows(call, rows, &past.chains)) ||
        (fault = assume_setting(call, rows, &past)))
        return fault;
    int64_t *nids = arena_new_array(call->arena, rows->count * 2, int64_t);
    int64_t *found = arena_new_array(call->arena, rows->count * 2, int64_t);
    for (size_t i = 0; i < rows->count; i++)
        for (size_t k = 0; k < 2; k++)
            nids[i * 2 + k] = found[i * 2 + k] = keys[k] ? state_chain_get(&past.chains[i], keys[k]) : 0;
    if ((fault = contents_load(call, nids, rows->count * 2, &past)))
        return fault;

    for (size_t i = 0; i < rows->count; i++) {
        const struct event_row *row = &rows->at[i];
        struct slice membership = json_get_string(content_of(&past, found[i * 2 + 1]), "membership");
        bool joined = slice_eq(membership, SLICE("join")), invited = slice_eq(membership, SLICE("invite"));
        if (slice_eq(row->type, SLICE("m.room.member")) && slice_eq(row->state_key, user_id)) {
            membership =
                json_get_string(row_content(call, row), "membership"); /* one's own change: seen under the better of both */
            joined |= slice_eq(membership, SLICE("join"));
            invited |= slice_eq(membership, SLICE("invite"));
        }
        joined |= !event_row_state_is_known(row) && slice_eq(row->sender, user_id);
        if (memberships)
            memberships[i] = slice_is_absent(membership) ? SLICE("leave") : membership;
        enum visibility setting = visibility_at(call, &past, row, found[i * 2]);
        visible[i] =
            setting == WORLD_READABLE || joined || (setting == SHARED && row->room_pos <= until) || (setting == INVITED && invited);
        /* A departure is told to the one who departs, also when he was never in (a rejected invite). */
        visible[i] |= slice_eq(row->type, SLICE("m.room.member")) && slice_eq(row->state_key, user_id);
    }
    return FAULT_OK;
}

/* Memberships of the server's users in each row's state: did one join, was one invited? */
static enum fault server_presence(struct call *call, const struct event_rows *rows, struct slice server, struct past *past,
                                  bool *joined, bool *invited)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_member_keys_of_server(batch, rows->at[0].room_nid, server);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    size_t room = (size_t)db_affected(result), key_count = 0;
    int64_t *keys = arena_new_array(call->arena, room, int64_t);
    struct member_keys_of_server_row row;
    while (key_count < room && member_keys_of_server_next(result, &row))
        keys[key_count++] = row.state_key_nid;
    int64_t *found = arena_new_array(call->arena, rows->count * key_count, int64_t);
    int64_t *nids = arena_new_array(call->arena, rows->count * key_count, int64_t);
    for (size_t i = 0; i < rows->count; i++)
        for (size_t k = 0; k < key_count; k++)
            nids[i * key_count + k] = found[i * key_count + k] = state_chain_get(&past->chains[i], keys[k]);
    struct past members = {0};
    if ((fault = contents_load(call, nids, rows->count * key_count, &members)))
        return fault;
    for (size_t i = 0; i < rows->count; i++) {
        for (size_t k = 0; k < key_count; k++) {
            struct slice membership = json_get_string(content_of(&members, found[i * key_count + k]), "membership");
            joined[i] |= slice_eq(membership, SLICE("join"));
            invited[i] |= slice_eq(membership, SLICE("invite"));
        }
        if (slice_eq(rows->at[i].type, SLICE("m.room.member")) &&
            slice_ends_with(rows->at[i].state_key, arena_printf(call->arena, ":%.*s", PRI(server))))
            joined[i] = true; /* a server sees the membership changes of its own users */
        joined[i] |= !event_row_state_is_known(&rows->at[i]) && slice_eq(id_server_name(rows->at[i].sender), server);
    }
    return FAULT_OK;
}

enum fault visible_to_server(struct call *call, const struct event_rows *rows, struct slice server, bool *visible)
{
    if (rows->count == 0)
        return FAULT_OK;
    enum fault fault;
    int64_t key;
    const struct slice type = SLICE("m.room.history_visibility"), state_key = SLICE("");
    struct past past = {0};
    if ((fault = state_key_find(call, &type, &state_key, 1, &key)) || (fault = chains_of_rows(call, rows, &past.chains)) ||
        (fault = assume_setting(call, rows, &past)))
        return fault;
    int64_t *nids = arena_new_array(call->arena, rows->count, int64_t), *found = arena_new_array(call->arena, rows->count, int64_t);
    for (size_t i = 0; i < rows->count; i++)
        nids[i] = found[i] = key ? state_chain_get(&past.chains[i], key) : 0;
    if ((fault = contents_load(call, nids, rows->count, &past)))
        return fault;
    bool restricted = false;
    enum visibility *settings = arena_new_array(call->arena, rows->count, enum visibility);
    for (size_t i = 0; i < rows->count; i++) {
        settings[i] = visibility_at(call, &past, &rows->at[i], found[i]);
        /* State outside of the timeline is in every /state and auth chain that a member server asks for: nothing to hide. */
        visible[i] = settings[i] <= SHARED || (rows->at[i].flags & EVENT_OUTLIER && rows->at[i].flags & EVENT_STATE);
        restricted |= !visible[i];
    }
    if (!restricted)
        return FAULT_OK;
    bool *joined = arena_new_array(call->arena, rows->count, bool), *invited = arena_new_array(call->arena, rows->count, bool);
    if ((fault = server_presence(call, rows, server, &past, joined, invited)))
        return fault;
    for (size_t i = 0; i < rows->count; i++)
        visible[i] |= joined[i] || (settings[i] == INVITED && invited[i]);
    return FAULT_OK;
}

bool room_is_world_readable(struct call *call, int64_t room_nid, enum fault *fault)
{
    struct event_row row;
    *fault = current_state_event(call, room_nid, "m.room.history_visibility", SLICE(""), &row);
    if (*fault == FAULT_NOT_FOUND)
        *fault = FAULT_OK;
    else if (*fault == FAULT_OK)
        return visibility_of(row_content(call, &row)) == WORLD_READABLE;
    return false;
}
