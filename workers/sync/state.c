/* The state part of rooms. Classic: the state at the timeline's start, as far as the client does not know it. With state_after: at
 * its end, whether it is in the timeline or not (Client-Server API "Syncing", `state` and `state_after`).
 *
 * The current state is the state at the end. Going back to the start needs no snapshots: what the timeline itself
 * set is taken out, and what its first event of a kind replaced is put in. */
#include "workers/sync/lazy.h"
#include "workers/sync/queries.h"
#include "workers/sync/work.h"

static bool has_state(const struct sync_room *room)
{
    return room->section == SECTION_JOIN && room->has_news;
}

void states_ask(struct sync_work *work, struct states *states)
{
    if (rooms_where(work, has_state, &states->rooms, &states->nids) == 0)
        return;
    struct arena *arena = work->call->arena;
    int64_t *only_new = arena_new_array(arena, states->nids.len, int64_t);
    for (size_t i = 0; i < states->nids.len; i++)
        only_new[i] = !states->rooms[i]->entire;
    states->result = q_states(work->batch, states->nids, (struct i64s){only_new, states->nids.len}, work->request->since.xmin,
                              work->since, work->request->filter.state.lazy_load_members);
}

void states_take(struct sync_work *work, const struct states *states)
{
    struct states_row row;
    if (!states->result)
        return;
    while (states_next(states->result, &row)) {
        struct sync_room *room = states->rooms[row.ordinal - 1];
        struct event_row event = EVENT_ROW_OF(row, room);
        row_list_add(work->call->arena, &room->state, &event);
        room->members_changed |= slice_eq(row.type, SLICE("m.room.member"));
    }
    for (size_t i = 0; i < states->nids.len; i++)
        states->rooms[i]->members_changed |= states->rooms[i]->entire;
}

/* ---- lazy loading: the members whom the client needs to show this answer */

struct wanted {
    struct sync_room **rooms;
    int64_t *nids;
    struct slice *users;
    size_t count, capacity;
    struct map *seen; /* "<room> <user>" */
};

static void want(struct sync_work *work, struct wanted *wanted, struct sync_room *room, struct slice user)
{
    struct arena *arena = work->call->arena;
    if (!map_put(wanted->seen, arena_printf(arena, "%lld %.*s", (long long)room->room_nid, PRI(user)), NULL))
        return;
    if (wanted->count == wanted->capacity) {
        size_t capacity = wanted->capacity ? wanted->capacity * 2 : 64;
        struct wanted grown = {arena_new_array(arena, capacity, struct sync_room *),
                               arena_new_array(arena, capacity, int64_t),
                               arena_new_array(arena, capacity, struct slice),
                               wanted->count,
                               capacity,
                               wanted->seen};
        if (wanted->count) {
            memcpy(grown.rooms, wanted->rooms, wanted->count * sizeof *grown.rooms);
            memcpy(grown.nids, wanted->nids, wanted->count * sizeof *grown.nids);
            memcpy(grown.users, wanted->users, wanted->count * sizeof *grown.users);
        }
        *wanted = grown;
    }
    wanted->rooms[wanted->count] = room;
    wanted->nids[wanted->count] = room->room_nid;
    wanted->users[wanted->count++] = user;
}

static enum fault add_wanted_members(struct sync_work *work)
{
    struct wanted wanted = {.seen = map_create(work->call->arena)};
    const struct sync_request *request = work->request;
    for (size_t i = 0; i < work->room_count; i++) {
        struct sync_room *room = &work->rooms[i];
        if (room->section != SECTION_JOIN)
            continue;
        for (size_t k = 0; k < room->timeline.count; k++)
            want(work, &wanted, room, room->timeline.at[k].sender);
        for (size_t k = 0; k < room->heroes.len; k++)
            want(work, &wanted, room, room->heroes.at[k]);
        if (room->entire)
            want(work, &wanted, room, request->user_id);
    }
    if (wanted.count == 0)
        return FAULT_OK;
    struct db_batch *batch = call_batch(work->call);
    struct db_result *result =
        q_member_events(batch, (struct i64s){wanted.nids, wanted.count}, (struct slices){wanted.users, wanted.count});
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    bool all = request->filter.state.include_redundant_members || slice_is_absent(request->device_id) ||
               lazy_is_repeated(request->user_id, request->device_id, request->since_text);
    struct member_events_row row;
    while (member_events_next(result, &row)) {
        struct sync_room *room = wanted.rooms[row.ordinal - 1];
        uint64_t hash = lazy_hash(request->user_id, request->device_id, row.event_nid);
        bool told = !all && !room->entire && lazy_was_sent(hash);
        lazy_note(hash);
        lazy_note(lazy_speaker_hash(request->user_id, request->device_id, room->room_id, wanted.users[row.ordinal - 1]));
        if (told || row_list_has(&room->state, row.event_nid))
            continue;
        struct event_row event = EVENT_ROW_OF(row, room);
        row_list_add(work->call->arena, &room->state, &event);
    }
    return FAULT_OK;
}

/* ---- back to the timeline's start */

/* Is row the first of its (type, state_key) in the timeline? */
static bool is_first_of_key(const struct row_list *timeline, size_t index)
{
    const struct event_row *row = &timeline->at[index];
    for (size_t i = 0; i < index; i++)
        if (!slice_is_absent(timeline->at[i].state_key) && slice_eq(timeline->at[i].type, row->type) &&
            slice_eq(timeline->at[i].state_key, row->state_key))
            return false;
    return true;
}

static bool goes_back(const struct sync_room *room)
{
    return (room->section == SECTION_JOIN || room->section == SECTION_LEAVE) && (room->entire || room->limited);
}

static bool is_speaker(const struct sync_room *room, struct slice user)
{
    for (size_t i = 0; i < room->timeline.count; i++)
        if (slice_eq(room->timeline.at[i].sender, user))
            return true;
    return false;
}

/* What the timeline's own state events replaced. */
static enum fault add_replaced(struct sync_work *work)
{
    struct arena *arena = work->call->arena;
    size_t most = 0, count = 0;
    bool lazy = work->request->filter.state.lazy_load_members;
    for (size_t i = 0; i < work->room_count; i++)
        most += goes_back(&work->rooms[i]) ? work->rooms[i].timeline.count : 0;
    int64_t *nids = arena_new_array(arena, most, int64_t);
    for (size_t i = 0; i < work->room_count; i++) {
        const struct sync_room *room = &work->rooms[i];
        for (size_t k = 0; goes_back(room) && k < room->timeline.count; k++) {
            const struct event_row *row = &room->timeline.at[k];
            if (slice_is_absent(row->state_key) || row->replaces_nid == DB_NULL_I64 || !is_first_of_key(&room->timeline, k) ||
                row_list_has(&room->timeline, row->replaces_nid) || row_list_has(&room->state, row->replaces_nid))
                continue;
            if (!lazy || !slice_eq(row->type, SLICE("m.room.member")) || is_speaker(room, row->state_key))
                nids[count++] = row->replaces_nid;
        }
    }
    if (count == 0)
        return FAULT_OK;
    struct db_batch *batch = call_batch(work->call);
    struct db_result *result = q_events_of(batch, (struct i64s){nids, count}, false, work->since);
    enum fault fault = db_run(batch);
    struct events_of_row row;
    while (!fault && events_of_next(result, &row)) {
        struct sync_room *room = map_get(work->by_nid, slice_of(&row.room_nid, sizeof row.room_nid));
        if (!room || (!room->entire && sync_token_saw(&work->request->since, row.pos)))
            continue;
        struct event_row event = EVENT_ROW_OF(row, room);
        row_list_add(arena, &room->state, &event);
    }
    return fault;
}

static void keep_told(struct sync_work *work, struct sync_room *room)
{
    const struct event_filter *filter = &work->request->filter.state;
    bool after = work->request->state_after, of_room = event_filter_allows_room(filter, room->room_id);
    struct map *in_timeline = map_create(work->call->arena);
    for (size_t i = 0; i < room->timeline.count && !after; i++)
        map_put(in_timeline, slice_of(&room->timeline.at[i].event_nid, sizeof(int64_t)), NULL);
    size_t kept = 0;
    for (size_t i = 0; i < room->state.count; i++) {
        const struct event_row *row = &room->state.at[i];
        const struct json *content = NULL;
        if (map_has(in_timeline, slice_of(&row->event_nid, sizeof row->event_nid)) ||
            (!after && !room->entire && sync_token_got(&work->request->since, row->event_nid)))
            continue;
        if (filter->has_contains_url)
            content = json_get_object(json_parse(work->call->arena, row->json, JSON_LAX, NULL), "content");
        if (of_room && event_filter_allows(filter, row->type, row->sender, content))
            room->state.at[kept++] = *row;
    }
    room->state.count = kept;
}

enum fault states_settle(struct sync_work *work)
{
    enum fault fault;
    if (work->request->filter.state.lazy_load_members && (fault = add_wanted_members(work)))
        return fault;
    if (!work->request->state_after && (fault = add_replaced(work)))
        return fault;
    for (size_t i = 0; i < work->room_count; i++)
        if (work->rooms[i].section == SECTION_JOIN || work->rooms[i].section == SECTION_LEAVE)
            keep_told(work, &work->rooms[i]);
    return FAULT_OK;
}
