/* Timelines of the joined and left rooms: one statement for all pages, then, after the transaction, what the reader may see.
 * Inside a room, order and newness agree (positions are given under the room's version check), so the new events are the end
 * of the timeline. */
#include "lib/store/visibility.h"
#include "workers/sync/queries.h"
#include "workers/sync/work.h"

enum { SWEEP_FILTERED = 500 };

static bool has_timeline(const struct sync_room *room)
{
    return (room->section == SECTION_JOIN && room->has_news) || room->section == SECTION_LEAVE;
}

static struct db_result *ask(struct sync_work *work, struct sync_room **rooms, struct i64s nids)
{
    struct arena *arena = work->call->arena;
    const struct event_filter *filter = &work->request->filter.timeline;
    int64_t *until = arena_new_array(arena, nids.len, int64_t), *only_new = arena_new_array(arena, nids.len, int64_t);
    for (size_t i = 0; i < nids.len; i++) {
        until[i] = rooms[i]->section == SECTION_LEAVE ? rooms[i]->since_pos : INT64_MAX;
        only_new[i] = !rooms[i]->entire || (work->request->full_state && !work->request->first && !rooms[i]->newly_joined);
    }
    struct i64s delivered = work->request->since.delivered;
    if (!delivered.at)
        delivered.at = arena_new_array(arena, 0, int64_t);
    int64_t limit = filter->limit + 1;
    int64_t sweep = limit + (int64_t)delivered.len;
    if ((filter->types || filter->not_types || filter->senders || filter->not_senders) && sweep < SWEEP_FILTERED)
        sweep = SWEEP_FILTERED;
    struct slices senders = sync_filter_texts(arena, filter->senders), not_senders = sync_filter_texts(arena, filter->not_senders);
    return q_timelines(work->batch, nids, (struct i64s){until, nids.len}, (struct i64s){only_new, nids.len},
                       work->request->since.xmin, work->since, delivered, sync_filter_patterns(arena, filter->types),
                       sync_filter_patterns(arena, filter->not_types), senders, not_senders, sweep, limit);
}

/* Rows come newest first; the timeline wants oldest first. */
static void turn_around(struct row_list *list)
{
    for (size_t i = 0; i < list->count / 2; i++) {
        struct event_row row = list->at[i];
        list->at[i] = list->at[list->count - 1 - i];
        list->at[list->count - 1 - i] = row;
    }
}

static void finish(const struct sync_work *work, struct sync_room *room)
{
    size_t limit = work->request->filter.timeline_empty ? 0 : (size_t)work->request->filter.timeline.limit;
    if (room->timeline.count > limit) {
        room->timeline.count = limit;
        room->limited = true;
    }
    turn_around(&room->timeline);
    room->prev_pos = room->timeline.count ? room->timeline.at[0].room_pos
                                          : (room->section == SECTION_LEAVE ? room->since_pos : room->head_pos) + 1;
}

void timelines_ask(struct sync_work *work, struct timelines *timelines)
{
    if (rooms_where(work, has_timeline, &timelines->rooms, &timelines->nids))
        timelines->result = ask(work, timelines->rooms, timelines->nids);
}

void timelines_take(struct sync_work *work, const struct timelines *timelines)
{
    struct timelines_row row;
    if (!timelines->result)
        return;
    bool *cut = arena_new_array(work->call->arena, timelines->nids.len, bool);
    while (timelines_next(timelines->result, &row)) {
        struct sync_room *room = timelines->rooms[row.ordinal - 1];
        room->limited |= row.goes_on; /* further back there may be more that the filter lets through */
        if (cut[row.ordinal - 1] || !row.matches)
            continue;
        struct event_row event = EVENT_ROW_OF(row, room);
        row_list_add(work->call->arena, &room->timeline, &event);
        if (row.has_gap) { /* what came before it is not here: the client asks for it by prev_batch */
            cut[row.ordinal - 1] = true;
            room->limited = true;
        }
    }
    for (size_t i = 0; i < timelines->nids.len; i++)
        finish(work, timelines->rooms[i]);
}

/* ---- what the reader may see */

/* Were all of these events sent while the user was in the room, or under a setting that shows them to every member? Then nothing
 * has to be looked up. *before: his membership before his present membership event, when that is among them. */
static bool is_plain(const struct sync_room *room, const struct visibility_settings_row *setting, struct slice *before)
{
    *before = SLICE("join");
    if (room->section != SECTION_JOIN || room->timeline.count == 0)
        return room->timeline.count == 0;
    int64_t first = room->timeline.at[0].room_pos;
    if (room->since_pos < first)
        return true;
    if (!setting || setting->member_replaced != DB_NULL_I64)
        return false;
    *before = SLICE("leave");
    if (slice_is_absent(setting->json))
        return true;
    return (setting->replaced == DB_NULL_I64 || setting->set_pos < first) &&
           (memmem(setting->json.at, setting->json.len, "\"history_visibility\":\"shared\"", 29) ||
            memmem(setting->json.at, setting->json.len, "\"history_visibility\":\"world_readable\"", 37));
}

static void set_memberships(struct sync_work *work, struct sync_room *room, struct slice before)
{
    for (size_t i = 0; i < room->timeline.count; i++)
        room->memberships[i] = room->timeline.at[i].room_pos >= room->since_pos ? SLICE("join") : before;
    (void)work;
}

static enum fault keep_visible(struct sync_work *work, struct sync_room *room)
{
    struct event_rows rows = {room->timeline.at, room->timeline.count};
    bool *visible = arena_new_array(work->call->arena, rows.count, bool);
    enum fault fault = visible_to_user(work->call, &rows, work->request->user_id, visible, room->memberships);
    size_t kept = 0;
    for (size_t i = 0; !fault && i < rows.count; i++) {
        if (!visible[i])
            continue;
        room->memberships[kept] = room->memberships[i];
        room->timeline.at[kept++] = room->timeline.at[i];
    }
    room->timeline.count = kept;
    return fault;
}

/* Ignored users' messages, and what only the content tells. State of ignored users is shown: it is the room's. */
static void drop_unwanted(struct sync_work *work, struct sync_room *room)
{
    const struct event_filter *filter = &work->request->filter.timeline;
    bool by_content = filter->has_contains_url || filter->rel_types || filter->not_rel_types;
    bool of_room = event_filter_allows_room(filter, room->room_id);
    size_t kept = 0;
    for (size_t i = 0; i < room->timeline.count; i++) {
        const struct event_row *row = &room->timeline.at[i];
        bool wanted = of_room && !(slice_is_absent(row->state_key) && map_has(work->ignored, row->sender));
        if (wanted && by_content) {
            const struct json *content = json_get_object(json_parse(work->call->arena, row->json, JSON_LAX, NULL), "content");
            wanted = event_filter_allows(filter, row->type, row->sender, content);
        }
        if (!wanted)
            continue;
        room->memberships[kept] = room->memberships[i];
        room->timeline.at[kept++] = *row;
    }
    room->timeline.count = kept;
}

static bool needs_setting(const struct sync_room *room)
{
    return room->section == SECTION_JOIN && room->timeline.count && room->since_pos >= room->timeline.at[0].room_pos;
}

enum fault timelines_admit(struct sync_work *work)
{
    struct sync_room **rooms;
    struct i64s nids;
    enum fault fault;
    struct map *settings = map_create(work->call->arena);
    if (rooms_where(work, needs_setting, &rooms, &nids)) {
        int64_t *members = arena_new_array(work->call->arena, nids.len, int64_t);
        for (size_t i = 0; i < nids.len; i++)
            members[i] = rooms[i]->member_nid;
        struct db_batch *batch = call_batch(work->call);
        struct db_result *result = q_visibility_settings(batch, nids, (struct i64s){members, nids.len});
        if ((fault = db_run(batch)))
            return fault;
        struct visibility_settings_row *row = arena_new(work->call->arena, struct visibility_settings_row);
        while (visibility_settings_next(result, row)) {
            map_put(settings, rooms[row->ordinal - 1]->room_id, row);
            row = arena_new(work->call->arena, struct visibility_settings_row);
        }
    }
    for (size_t i = 0; i < work->room_count; i++) {
        struct sync_room *room = &work->rooms[i];
        struct slice before;
        if (room->timeline.count == 0)
            continue;
        room->memberships = arena_new_array(work->call->arena, room->timeline.count, struct slice);
        if (is_plain(room, map_get(settings, room->room_id), &before))
            set_memberships(work, room, before);
        else if ((fault = keep_visible(work, room)))
            return fault;
        drop_unwanted(work, room);
    }
    return FAULT_OK;
}
