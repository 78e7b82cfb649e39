/* The table of readers; see readers.h. */
#include "workers/sync/readers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/lru.h"

enum { KEYS_GOOD_MS = 60000, FEW_KEYS_GOOD_MS = 2000, ENOUGH_KEYS = 50 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lru *readers;

static void reader_free(void *value)
{
    struct reader *reader = value;
    size_t at = 0;
    void *room;
    while (reader->rooms && map_next(reader->rooms, &at, NULL, &room))
        free(room);
    map_destroy(&reader->rooms);
    free(reader->token);
    free(reader->filter);
    free(reader->topics);
    free(reader->one_time_keys);
    free(reader->fallback_keys);
    free(reader->ignored);
    free(reader);
}

void readers_start(size_t limit_bytes)
{
    readers = lru_create(limit_bytes, reader_free);
}

void readers_stop(void)
{
    lru_destroy(&readers);
}

static char *copy_text(struct slice text)
{
    char *copy = slice_is_absent(text) ? NULL : strndup(text.at, text.len);
    ensure(copy || slice_is_absent(text));
    return copy;
}

/* User ids and device ids have at most 255 bytes each. */
struct reader_key {
    char text[640];
    struct slice slice;
};

static void key_of(const struct sync_request *request, struct reader_key *key)
{
    int length = snprintf(key->text, sizeof key->text, "%.*s %.*s", PRI(request->user_id), PRI(request->device_id));
    key->slice = slice_of(key->text, (size_t)length < sizeof key->text ? (size_t)length : sizeof key->text - 1);
}

static bool is_text(const char *text, struct slice other)
{
    return text ? slice_eq(slice_from_cstr(text), other) && !slice_is_absent(other) : slice_is_absent(other);
}

static bool is_name(const char *left, const char *right)
{
    return left && right ? strcmp(left, right) == 0 : left == right;
}

struct reader *readers_find(const struct sync_request *request)
{
    struct reader_key key;
    key_of(request, &key);
    pthread_mutex_lock(&lock);
    struct reader *reader = lru_get(readers, key.slice);
    if (reader && is_text(reader->token, request->since_text) && is_text(reader->filter, request->filter_text) &&
        is_name(reader->state_after, request->state_after) && clock_monotonic_ms() < reader->good_until_ms)
        return reader;
    pthread_mutex_unlock(&lock);
    return NULL;
}

void readers_release(void)
{
    pthread_mutex_unlock(&lock);
}

void readers_forget(const struct sync_request *request)
{
    struct reader_key key;
    key_of(request, &key);
    pthread_mutex_lock(&lock);
    lru_remove(readers, key.slice);
    pthread_mutex_unlock(&lock);
}

bool reader_ignores(const uint64_t *ignored, size_t count, struct slice user_id)
{
    uint64_t hash = count ? slice_hash(user_id) : 0;
    for (size_t i = 0; i < count; i++)
        if (ignored[i] == hash)
            return true;
    return false;
}

static void set_base(struct reader *reader, const struct sync_token *base)
{
    reader->base = *base;
    if (base->running.len)
        memcpy(reader->running, base->running.at, base->running.len * sizeof *reader->running);
    if (base->delivered.len)
        memcpy(reader->delivered, base->delivered.at, base->delivered.len * sizeof *reader->delivered);
    reader->base.running.at = reader->running;
    reader->base.delivered.at = reader->delivered;
}

void readers_set_token(struct reader *reader, struct slice token, const struct sync_token *base)
{
    free(reader->token);
    reader->token = copy_text(token);
    set_base(reader, base);
}

/* ---- made from an answer of the SQL path */

static size_t add_room(struct reader *reader, const struct sync_room *room, const struct map *before)
{
    struct reader_room *known = calloc(1, sizeof *known), *old = before ? map_get(before, room->room_id) : NULL;
    ensure(known);
    if (old && !room->has_news)
        *known = *old;
    known->head_pos = room->head_pos;
    if (room->unread) {
        *known = (struct reader_room){.head_pos = room->head_pos, .counts_known = true, .loudness = room->unread->loudness};
        known->main = room->unread->threads[0];
        for (size_t i = 0; i < room->unread->count; i++) {
            known->all.notifications += room->unread->threads[i].notifications;
            known->all.highlights += room->unread->threads[i].highlights;
        }
        known->main.thread_id = SLICE_ABSENT;
    }
    map_put(reader->rooms, room->room_id, known);
    return sizeof *known + room->room_id.len + 64;
}

static size_t copy_topics(struct reader *reader, struct slices topics)
{
    for (size_t i = 0; i < topics.len; i++)
        reader->topics_bytes += topics.at[i].len + 1;
    reader->topics = malloc(reader->topics_bytes + 1);
    ensure(reader->topics);
    char *at = reader->topics;
    for (size_t i = 0; i < topics.len; i++) {
        memcpy(at, topics.at[i].at, topics.at[i].len);
        at[topics.at[i].len] = '\0';
        at += topics.at[i].len + 1;
    }
    reader->topic_count = topics.len;
    return reader->topics_bytes;
}

static size_t copy_ignored(struct reader *reader, const struct map *ignored)
{
    size_t at = 0, most = ignored ? map_count(ignored) : 0;
    struct slice user_id;
    reader->ignored = calloc(most + 1, sizeof *reader->ignored);
    ensure(reader->ignored);
    while (most && map_next(ignored, &at, &user_id, NULL))
        reader->ignored[reader->ignored_count++] = slice_hash(user_id);
    return most * sizeof *reader->ignored;
}

/* While keys are few the client will upload more, and no hint tells of that. */
static int64_t good_for_ms(struct slice one_time_keys)
{
    static const char name[] = "\"signed_curve25519\":";
    const char *found = one_time_keys.len ? memmem(one_time_keys.at, one_time_keys.len, name, sizeof name - 1) : NULL;
    int64_t count = 0;
    for (const char *at = found ? found + sizeof name - 1 : NULL; at && *at >= '0' && *at <= '9' && count < 1000000; at++)
        count = count * 10 + (*at - '0');
    return count >= ENOUGH_KEYS ? KEYS_GOOD_MS : FEW_KEYS_GOOD_MS;
}

void readers_keep(const struct sync_request *request, const struct sync_work *work, int64_t heard, bool parked)
{
    struct reader_key key;
    if (slice_is_absent(request->device_id))
        return;
    struct reader *reader = calloc(1, sizeof *reader);
    ensure(reader);
    size_t cost = sizeof *reader + 256;
    *reader = (struct reader){.state_after = request->state_after, .heard = heard, .rooms = map_create(NULL)};
    reader->filter = copy_text(request->filter_text);
    reader->good_until_ms = clock_monotonic_ms() + good_for_ms(work->one_time_keys);
    readers_set_token(reader, parked ? request->since_text : sync_token_format(work->call->arena, &work->next), &work->next);
    reader->one_time_keys = copy_text(work->one_time_keys);
    reader->fallback_keys = copy_text(work->fallback_keys);
    cost += copy_topics(reader, work->topics) + copy_ignored(reader, work->ignored) + request->filter_text.len;
    key_of(request, &key);
    pthread_mutex_lock(&lock);
    const struct reader *before = lru_get(readers, key.slice);
    /* Push rules may be among new account data: then what was counted by the old ones is forgotten. */
    bool continues = before && is_text(before->token, request->since_text) && slice_is_absent(work->account_data);
    for (size_t i = 0; i < work->room_count; i++)
        if (work->rooms[i].section == SECTION_JOIN)
            cost += add_room(reader, &work->rooms[i], continues ? before->rooms : NULL);
    lru_put(readers, key.slice, reader, cost);
    pthread_mutex_unlock(&lock);
}
