/* Counting what is unread; see unread.h. The default push rules, cut down to what events show by themselves: messages notify,
 * notices and edits do not, mentions are highlights, muted rooms are silent. Push (lib/matrix/push_rules) will bring the whole
 * evaluator; until then at most UNREAD_MAX events per room are looked at, and only those with telling words are parsed. */
#include "workers/sync/unread.h"

#include <ctype.h>

#include "lib/matrix/ids.h"
#include "workers/sync/queries.h"
#include "workers/sync/work.h"

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

/* How clients mute: a room rule without notify leaves the mentions, an override rule on the room id leaves nothing. */
enum loudness loudness_of(const struct json *rules, struct slice room_id)
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

struct judgement unread_judge(struct slice type, const struct json *content, struct slice user_id)
{
    const struct json *relation = json_get_object(content, "m.relates_to");
    struct slice rel_type = json_get_string(relation, "rel_type"), root = json_get_string(relation, "event_id");
    struct judgement judgement = {.thread_id = SLICE("main"), .notifies = true};
    if (slice_eq(rel_type, SLICE("m.thread")) && !slice_is_absent(root))
        judgement.thread_id = root;
    if (slice_eq(rel_type, SLICE("m.replace"))) {
        judgement.notifies = false;
        return judgement;
    }
    judgement.is_highlight = slice_eq(type, SLICE("m.room.tombstone")) || is_mentioned(content, user_id);
    judgement.notifies = judgement.is_highlight || !slice_eq(json_get_string(content, "msgtype"), SLICE("m.notice"));
    return judgement;
}

bool unread_counts(struct slice type)
{
    static const char *const types[] = {"m.room.message", "m.room.encrypted", "m.sticker",
                                        "m.call.invite",  "m.poll.start",     "org.matrix.msc3381.poll.start"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (slice_eq(type, slice_from_cstr(types[i])))
            return true;
    return false;
}

bool unread_add(struct unread_thread *thread, struct judgement judgement, enum loudness loudness)
{
    if (loudness == SILENT || (loudness == MENTIONS_ONLY && !judgement.is_highlight) || !judgement.notifies)
        return false;
    thread->notifications++;
    thread->highlights += judgement.is_highlight;
    return true;
}

static void count_one(const struct sync_work *work, struct sync_room *room, const struct positions *positions,
                      const struct unread_events_row *row)
{
    const struct json *content = NULL;
    if (!slice_is_absent(row->json))
        content = json_get_object(json_parse(work->call->arena, row->json, JSON_LAX, NULL), "content");
    struct judgement judgement = unread_judge(row->type, content, work->request->user_id);
    if (!is_read(positions, judgement.thread_id, row->room_pos))
        unread_add(thread_of(work->call->arena, room->unread, judgement.thread_id), judgement, room->unread->loudness);
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
    int64_t *after = arena_new_array(arena, nids.len, int64_t), *until = arena_new_array(arena, nids.len, int64_t);
    for (size_t i = 0; i < nids.len; i++)
        until[i] = rooms[i]->head_pos; /* as the transaction saw it: what came later is told, and counted, later */
    enum fault fault = read_positions(work, rooms, nids.len, positions, after);
    if (fault)
        return fault;
    const struct slice words[] = {SLICE("m.thread"), SLICE("m.replace"), SLICE("m.notice"), SLICE("m.mentions"),
                                  id_localpart(work->request->user_id)};
    struct db_batch *batch = call_batch(work->call);
    struct db_result *result =
        q_unread_events(batch, work->request->user_id, nids, (struct i64s){after, nids.len}, (struct i64s){until, nids.len},
                        (struct slices){words, sizeof words / sizeof words[0]}, UNREAD_MAX);
    if ((fault = db_run(batch)))
        return fault;
    for (size_t i = 0; i < nids.len; i++) {
        rooms[i]->unread = arena_new(arena, struct unread);
        rooms[i]->unread->loudness = loudness_of(work->push_rules, rooms[i]->room_id);
        thread_of(arena, rooms[i]->unread, SLICE("main"));
    }
    struct unread_events_row row;
    while (unread_events_next(result, &row))
        count_one(work, rooms[row.ordinal - 1], &positions[row.ordinal - 1], &row);
    return FAULT_OK;
}
