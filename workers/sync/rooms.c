/* First step of the SQL path: one trip for the user's rooms and for everything that is not of rooms: account data, to-device
 * messages, key counts, device lists. Then each room gets its section. */
#include "lib/base/ensure.h"
#include "workers/sync/queries.h"
#include "workers/sync/work.h"

enum { TO_DEVICE_MAX = 100 };

struct answers {
    struct db_result *snapshot, *rooms, *past, *account_data, *rules, *to_device, *acknowledged, *keys, *fallback, *devices;
};

static void ask(struct sync_work *work, struct answers *answers)
{
    const struct sync_request *request = work->request;
    const struct sync_token *since = &request->since;
    struct slice user = request->user_id, device = request->device_id;
    bool leave = request->filter.include_leave;
    int64_t left = request->first ? (leave ? 2 : 0) : leave && request->full_state ? 2 : 1;
    q_sync_isolation(work->batch);
    answers->snapshot = q_sync_snapshot(work->batch);
    answers->rooms = q_my_rooms(work->batch, user, since->xmin, work->since, left);
    answers->account_data = q_account_data_new(work->batch, user, since->xmin, work->since);
    answers->rules = q_account_rules(work->batch, user);
    if (!slice_is_absent(device)) {
        answers->to_device = q_to_device_new(work->batch, user, device, since->to_device_seq, work->since, TO_DEVICE_MAX + 1);
        answers->keys = q_one_time_keys(work->batch, user, device);
        answers->fallback = q_fallback_keys(work->batch, user, device);
        if (since->to_device_seq)
            answers->acknowledged = q_to_device_acknowledged(work->batch, user, device, since->to_device_seq, since->xmin);
    }
    if (request->first)
        return;
    answers->past = q_my_past(work->batch, user, since->xmin, work->since);
    answers->devices = q_device_lists_changed(work->batch, user, since->xmin, work->since);
}

/* ---- rooms */

static enum section section_of(const struct sync_work *work, const struct sync_room *room)
{
    if (!event_filter_allows_room(&work->request->filter.rooms, room->room_id))
        return SECTION_NONE;
    if (slice_eq(room->membership, SLICE("join")))
        return SECTION_JOIN;
    if (slice_eq(room->membership, SLICE("invite")))
        return SECTION_INVITE;
    if (slice_eq(room->membership, SLICE("knock")))
        return SECTION_KNOCK;
    return SECTION_LEAVE;
}

static void take_rooms(struct sync_work *work, struct db_result *result)
{
    struct arena *arena = work->call->arena;
    size_t most = (size_t)db_affected(result), topic_count = 0;
    struct slice *topics = arena_new_array(arena, most + 1, struct slice);
    topics[topic_count++] = arena_printf(arena, "u:%.*s", PRI(work->request->user_id));
    work->rooms = arena_new_array(arena, most, struct sync_room);
    work->by_id = map_create(arena);
    work->by_nid = map_create(arena);
    struct my_rooms_row row;
    while (work->room_count < most && my_rooms_next(result, &row)) {
        struct sync_room *room = &work->rooms[work->room_count++];
        *room = (struct sync_room){.room_nid = row.room_nid,
                                   .member_nid = row.member_nid,
                                   .since_pos = row.since_pos,
                                   .head_pos = row.head_pos,
                                   .prev_pos = row.head_pos + 1,
                                   .room_id = row.room_id,
                                   .room_version = row.room_version,
                                   .membership = row.membership,
                                   .stripped_state = row.stripped_state,
                                   .member_json = row.member_json,
                                   .is_new = row.is_new,
                                   .has_news = row.has_news || work->request->full_state};
        room->section = section_of(work, room);
        room->entire = work->request->first || work->request->full_state;
        map_put(work->by_id, room->room_id, room);
        map_put(work->by_nid, slice_of(&room->room_nid, sizeof room->room_nid), room);
        if (slice_eq(room->membership, SLICE("join")))
            topics[topic_count++] = arena_printf(arena, "r:%.*s", PRI(room->room_id));
    }
    work->topics = (struct slices){topics, topic_count};
}

/* The user's own way through a room since the token. In it all the time: nothing to start over. Otherwise, also when he left and
 * came back, the client is told the room from scratch. The last row of a room is what the token knew; if even that is new, the
 * token knew nothing. */
static void take_past(struct sync_work *work, struct db_result *result)
{
    struct my_past_row row;
    for (size_t i = 0; i < work->room_count; i++)
        work->rooms[i].newly_joined = work->rooms[i].is_new;
    while (my_past_next(result, &row)) {
        struct sync_room *room = map_get(work->by_nid, slice_of(&row.room_nid, sizeof row.room_nid));
        if (!room)
            continue;
        const struct json *content = json_get_object(json_parse(work->call->arena, row.json, JSON_LAX, NULL), "content");
        struct slice membership = json_get_string(content, "membership");
        bool in = slice_eq(membership, SLICE("join"));
        if (row.step == 0)
            room->ended = slice_eq(membership, SLICE("leave")) || slice_eq(membership, SLICE("ban"));
        room->was_out |= !in && !(row.step == 0 && room->section == SECTION_LEAVE);
        if (!row.is_new)
            room->newly_joined = room->was_out;
    }
    for (size_t i = 0; i < work->room_count; i++)
        if (work->rooms[i].newly_joined && work->rooms[i].section == SECTION_JOIN)
            work->rooms[i].entire = work->rooms[i].limited = true; /* limited: what came before is to be asked for */
}

/* ---- not of rooms */

static void add_typed(struct json_writer *w, struct slice type, struct slice content)
{
    json_begin_object(w);
    json_put_string(w, "type", type);
    json_put_raw(w, "content", content);
    json_end_object(w);
}

static void finish_room_data(struct sync_room *room, struct json_writer *w)
{
    if (!room)
        return;
    json_end_array(w);
    room->account_data = json_done(w);
}

static void take_account_data(struct sync_work *work, struct db_result *result)
{
    const struct sync_filter *filter = &work->request->filter;
    struct json_writer global = json_writer_in(work->call->arena), of_room;
    struct sync_room *current = NULL; /* rows come room by room */
    struct account_data_new_row row;
    size_t count = 0;
    json_begin_array(&global);
    while (account_data_new_next(result, &row)) {
        if (work->request->first && slice_eq(row.content, SLICE("{}")))
            continue; /* deleted before the client knew it */
        if (row.room_id.len == 0) {
            if (event_filter_allows(&filter->account_data, row.type, work->request->user_id, NULL)) {
                add_typed(&global, row.type, row.content);
                count++;
            }
            continue;
        }
        struct sync_room *room = map_get(work->by_id, row.room_id);
        bool is_shown = room && (room->section == SECTION_JOIN || room->section == SECTION_LEAVE);
        if (!is_shown || !event_filter_allows_room(&filter->room_account_data, room->room_id) ||
            !event_filter_allows(&filter->room_account_data, row.type, work->request->user_id, NULL))
            continue;
        if (room != current) {
            finish_room_data(current, &of_room);
            of_room = json_writer_in(work->call->arena);
            json_begin_array(&of_room);
            current = room;
        }
        add_typed(&of_room, row.type, row.content);
    }
    finish_room_data(current, &of_room);
    json_end_array(&global);
    if (count)
        work->account_data = json_done(&global);
}

static void take_rules(struct sync_work *work, struct db_result *result)
{
    struct account_rules_row row;
    work->ignored = map_create(work->call->arena);
    while (account_rules_next(result, &row)) {
        const struct json *content = json_parse(work->call->arena, row.content, JSON_LAX, NULL);
        if (slice_eq(row.type, SLICE("m.push_rules")))
            work->push_rules = content;
        else
            json_each (user, json_get_object(content, "ignored_users"))
                map_put(work->ignored, user->key, NULL);
    }
}

static void take_to_device(struct sync_work *work, const struct answers *answers)
{
    struct to_device_new_row row;
    struct json_writer w = json_writer_in(work->call->arena);
    struct to_device_acknowledged_row acknowledged;
    int64_t last = work->request->since.to_device_seq, page_last = 0;
    size_t count = 0;
    json_begin_array(&w);
    while (count < TO_DEVICE_MAX && to_device_new_next(answers->to_device, &row)) {
        json_add_raw(&w, row.event);
        page_last = row.seq;
        count++;
    }
    json_end_array(&w);
    if (count) {
        work->to_device = json_done(&w);
        /* A page that does not take all may end before the old place, when an earlier message came to light later. */
        bool more = to_device_new_next(answers->to_device, &row);
        last = more || page_last > last ? page_last : last;
    }
    work->next.to_device_seq = last;
    work->to_device_done =
        answers->acknowledged && to_device_acknowledged_next(answers->acknowledged, &acknowledged) && acknowledged.any_there;
}

static void take_keys(struct sync_work *work, const struct answers *answers)
{
    struct one_time_keys_row count;
    struct fallback_keys_row algorithm;
    struct json_writer w = json_writer_in(work->call->arena);
    bool signed_curve = false;
    json_begin_object(&w);
    while (one_time_keys_next(answers->keys, &count)) {
        signed_curve |= slice_eq(count.algorithm, SLICE("signed_curve25519"));
        json_key(&w, count.algorithm);
        json_add_i64(&w, count.keys);
    }
    if (!signed_curve)
        json_put_i64(&w, "signed_curve25519", 0); /* older clients wait for it before they upload */
    json_end_object(&w);
    work->one_time_keys = json_done(&w);
    w = json_writer_in(work->call->arena);
    json_begin_array(&w);
    while (fallback_keys_next(answers->fallback, &algorithm))
        json_add_string(&w, algorithm.algorithm);
    json_end_array(&w);
    work->fallback_keys = json_done(&w);
}

static void take_devices(struct sync_work *work, struct db_result *result)
{
    size_t most = (size_t)db_affected(result), count = 0;
    struct slice *users = arena_new_array(work->call->arena, most, struct slice);
    struct device_lists_changed_row row;
    while (count < most && device_lists_changed_next(result, &row))
        users[count++] = row.user_id;
    work->devices_changed = (struct slices){users, count};
}

enum fault rooms_read(struct sync_work *work)
{
    struct answers answers = {0};
    struct sync_snapshot_row snapshot;
    ask(work, &answers);
    enum fault fault = db_step(work->batch);
    if (fault)
        return fault;
    ensure(sync_snapshot_next(answers.snapshot, &snapshot) &&
           sync_token_take_snapshot(work->call->arena, snapshot.snapshot, &work->next));
    take_rooms(work, answers.rooms);
    if (answers.past)
        take_past(work, answers.past);
    take_rules(work, answers.rules);
    take_account_data(work, answers.account_data);
    if (answers.to_device) {
        take_to_device(work, &answers);
        take_keys(work, &answers);
    }
    if (answers.devices)
        take_devices(work, answers.devices);
    return FAULT_OK;
}

/* ---- what the steps share */

void row_list_add(struct arena *arena, struct row_list *list, const struct event_row *row)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        struct event_row *grown = arena_new_array(arena, capacity, struct event_row);
        if (list->count)
            memcpy(grown, list->at, list->count * sizeof *grown);
        list->at = grown;
        list->capacity = capacity;
    }
    list->at[list->count++] = *row;
}

bool row_list_has(const struct row_list *list, int64_t event_nid)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i].event_nid == event_nid)
            return true;
    return false;
}

size_t rooms_where(struct sync_work *work, bool (*matches)(const struct sync_room *room), struct sync_room ***out,
                   struct i64s *nids)
{
    struct sync_room **rooms = arena_new_array(work->call->arena, work->room_count, struct sync_room *);
    int64_t *numbers = arena_new_array(work->call->arena, work->room_count, int64_t);
    size_t count = 0;
    for (size_t i = 0; i < work->room_count; i++) {
        if (!matches(&work->rooms[i]))
            continue;
        numbers[count] = work->rooms[i].room_nid;
        rooms[count++] = &work->rooms[i];
    }
    *out = rooms;
    *nids = (struct i64s){numbers, count};
    return count;
}
