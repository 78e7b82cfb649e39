/* Counting what is unread; see unread.h. The default push rules, cut down to what events show by themselves: messages notify, notices and
 * edits do not, mentions are highlights, muted rooms are silent. Push (lib/matrix/push_rules) will bring the whole evaluator; until
 * then at most UNREAD_MAX events per room are looked at, and only those with telling words are parsed. */
#include "workers/sync/unread.h"

#include <ctype.h>

#include "lib/matrix/ids.h"
#include "workers/sync/queries.h"
#include "workers/sync/work.h"

enum { UNREAD_MAX = 200 };

struct positions {
    struct map *by_thread; /* thread id ("" unthreaded) → room_pos */
};

static bool is_told(const struct sync_room *room)
{
    return room->section == SECTION_JOIN && room->is_told;
}

/* ---- rules */

/* As a word: not inside a longer one, letters' case aside. */
static bool has_word(struct slice text, struct slice word)
{
    for (size_t at = 0; word.len && at + word.len <= text.len; at++) {
        if (!slice_eq_ignoring_case(slice_sub(text, at, word.len), word))
            continue;
        bool before = at == 0 || !isalnum((unsigned char)text.at[at - 1]);
        bool after = at + word.len == text.len || !isalnum((unsigned char)text.at[at + word.len]);
        if (before && after)
            return true;
    }
    return false;
}

static bool is_mentioned(const struct json *content, struct slice user_id)
{
    const struct json *mentions = json_get_object(content, "m.mentions");
    if (!mentions)
        return has_word(json_get_string(content, "body"), id_localpart(user_id));
    json_each (user, json_get_array(mentions, "user_ids"))
        if (slice_eq(json_string(user), user_id))
            return true;
    return json_get_bool(mentions, "room", false);
}

static bool notifies(const struct json *rule)
{
    json_each (action, json_get_array(rule, "actions"))
        if (slice_eq(json_string(action), SLICE("notify")))
            return true;
    return false;
}

enum loudness { LOUD, MENTIONS_ONLY, SILENT };

/* How clients mute: a room rule without notify leaves the mentions, an override rule on the room id leaves nothing. */
static enum loudness loudness_of(const struct json *rules, struct slice room_id)
{
    const struct json *global = json_get_object(rules, "global");
    json_each (rule, json_get_array(global, "override")) {
        if (!json_get_bool(rule, "enabled", true) || notifies(rule))
            continue;
        if (slice_eq(json_get_string(rule, "rule_id"), SLICE(".m.rule.master")))
            return SILENT;
        const struct json *conditions = json_get_array(rule, "conditions"), *condition = conditions ? conditions->first : NULL;
        if (condition && !condition->next && slice_eq(json_get_string(condition, "key"), SLICE("room_id")) &&
            slice_eq(json_get_string(condition, "pattern"), room_id))
            return SILENT;
    }
    json_each (rule, json_get_array(global, "room"))
        if (slice_eq(json_get_string(rule, "rule_id"), room_id) && json_get_bool(rule, "enabled", true) && !notifies(rule))
            return MENTIONS_ONLY;
    return LOUD;
}

/* ---- counting */

static struct unread_thread *thread_of(struct arena *arena, struct unread *unread, struct slice thread_id)
{
    for (size_t i = 0; i < unread->count; i++)
        if (slice_eq(unread->threads[i].thread_id, thread_id))
            return &unread->threads[i];
    struct unread_thread *grown = arena_new_array(arena, unread->count + 1, struct unread_thread);
    if (unread->count)
        memcpy(grown, unread->threads, unread->count * sizeof *grown);
    unread->threads = grown;
    grown[unread->count] = (struct unread_thread){.thread_id = thread_id};
    return &grown[unread->count++];
}

static bool is_read(const struct positions *positions, struct slice thread_id, int64_t room_pos)
{
    int64_t read;
    return map_get_i64(positions->by_thread, thread_id, &read) && room_pos <= read;
}

static void count_one(const struct sync_work *work, struct sync_room *room, const struct positions *positions,
                      const struct unread_events_row *row)
{
    struct arena *arena = work->call->arena;
    struct slice thread_id = SLICE("main");
    bool notify = true, highlight = slice_eq(row->type, SLICE("m.room.tombstone"));
    if (!slice_is_absent(row->json)) {
        const struct json *content = json_get_object(json_parse(arena, row->json, JSON_LAX, NULL), "content");
        const struct json *relation = json_get_object(content, "m.relates_to");
        struct slice rel_type = json_get_string(relation, "rel_type");
        if (slice_eq(rel_type, SLICE("m.thread")) && !slice_is_absent(json_get_string(relation, "event_id")))
            thread_id = json_get_string(relation, "event_id");
        highlight |= is_mentioned(content, work->request->user_id);
        notify = highlight || (!slice_eq(rel_type, SLICE("m.replace")) &&
                               !slice_eq(json_get_string(content, "msgtype"), SLICE("m.notice")));
        if (slice_eq(rel_type, SLICE("m.replace")))
            notify = highlight = false;
    }
    enum loudness loudness = loudness_of(work->push_rules, room->room_id);
    if (loudness == SILENT || (loudness == MENTIONS_ONLY && !highlight) || !notify || is_read(positions, thread_id, row->room_pos))
        return;
    struct unread_thread *thread = thread_of(arena, room->unread, thread_id);
    thread->notifications++;
    thread->highlights += highlight;
}

static enum fault read_positions(struct sync_work *work, struct sync_room **rooms, size_t count, struct positions *positions,
                                 int64_t *after)
{
    struct arena *arena = work->call->arena;
    struct slice *ids = arena_new_array(arena, count, struct slice);
    for (size_t i = 0; i < count; i++) {
        ids[i] = rooms[i]->room_id;
        positions[i].by_thread = map_create(arena);
        after[i] = rooms[i]->since_pos;
    }
    struct db_batch *batch = call_batch(work->call);
    struct db_result *result = q_read_positions(batch, work->request->user_id, (struct slices){ids, count});
    enum fault fault = db_run(batch);
    struct read_positions_row row;
    while (!fault && read_positions_next(result, &row)) {
        map_put_i64(positions[row.ordinal - 1].by_thread, row.thread_id, row.room_pos);
        if (row.thread_id.len == 0 && row.room_pos > after[row.ordinal - 1])
            after[row.ordinal - 1] = row.room_pos;
    }
    return fault;
}

enum fault unread_count(struct sync_work *work)
{
    struct arena *arena = work->call->arena;
    struct sync_room **rooms;
    struct i64s nids;
    if (rooms_where(work, is_told, &rooms, &nids) == 0)
        return FAULT_OK;
    struct positions *positions = arena_new_array(arena, nids.len, struct positions);
    int64_t *after = arena_new_array(arena, nids.len, int64_t);
    enum fault fault = read_positions(work, rooms, nids.len, positions, after);
    if (fault)
        return fault;
    const struct slice words[] = {SLICE("m.thread"), SLICE("m.replace"), SLICE("m.notice"), SLICE("m.mentions"),
                                  id_localpart(work->request->user_id)};
    struct db_batch *batch = call_batch(work->call);
    struct db_result *result =
        q_unread_events(batch, work->request->user_id, nids, (struct i64s){after, nids.len},
                        (struct slices){words, sizeof words / sizeof words[0]}, UNREAD_MAX);
    if ((fault = db_run(batch)))
        return fault;
    for (size_t i = 0; i < nids.len; i++) {
        rooms[i]->unread = arena_new(arena, struct unread);
        thread_of(arena, rooms[i]->unread, SLICE("main"));
    }
    struct unread_events_row row;
    while (unread_events_next(result, &row))
        count_one(work, rooms[row.ordinal - 1], &positions[row.ordinal - 1], &row);
    return FAULT_OK;
}
