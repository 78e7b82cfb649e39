/* Typing in memory; see typing.h. A room without typists is kept for a while, so that clients hear of the end. */
#include "workers/sync/typing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/kit/stream.h"
#include "lib/kit/worker.h"

enum {
    ROOMS_MAX = 20000,
    TYPISTS_MAX = 100,
    FORGET_MS = 120000,
    TIMEOUT_MAX_MS = 120000,
    TELL_AGAIN_MS = 20000,
    CLOCK_SLACK_MS = 60000
};

struct typist {
    char *user_id;
    int64_t until_ms, told_ms; /* monotonic */
};
struct typing_room {
    struct typist typists[TYPISTS_MAX];
    size_t count;
    int64_t serial, changed_ms;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *rooms; /* room id → struct typing_room * */
static _Atomic int64_t newest_serial;

/* ---- the clock of changes */

int64_t ephemeral_serial(void)
{
    int64_t serial = atomic_load(&newest_serial);
    return serial ? serial : ephemeral_next_serial();
}

int64_t ephemeral_next_serial(void)
{
    int64_t now = clock_wall_ms(), seen = atomic_load(&newest_serial), next;
    do {
        next = now > seen ? now : seen + 1;
    } while (!atomic_compare_exchange_weak(&newest_serial, &seen, next));
    return next;
}

int64_t ephemeral_after(int64_t serial)
{
    int64_t own = ephemeral_serial();
    return serial > own ? own - CLOCK_SLACK_MS : serial;
}

/* ---- changes */

static struct typist *find(struct typing_room *room, struct slice user_id)
{
    for (size_t i = 0; i < room->count; i++)
        if (slice_eq(slice_from_cstr(room->typists[i].user_id), user_id))
            return &room->typists[i];
    return NULL;
}

static void drop(struct typing_room *room, struct typist *typist)
{
    free(typist->user_id);
    *typist = room->typists[--room->count];
}

static void room_free(struct typing_room *room)
{
    while (room->count)
        drop(room, room->typists);
    free(room);
}

static void mark_changed(struct typing_room *room, int64_t now_ms)
{
    room->serial = ephemeral_next_serial();
    room->changed_ms = now_ms;
}

/* True: the room's typists changed. */
static bool apply(struct slice room_id, struct slice user_id, bool typing, int64_t timeout_ms)
{
    int64_t now_ms = clock_monotonic_ms();
    if (!rooms)
        rooms = map_create(NULL);
    struct typing_room *room = map_get(rooms, room_id);
    if (!room) {
        if (!typing || map_count(rooms) >= ROOMS_MAX)
            return false;
        room = calloc(1, sizeof *room);
        ensure(room);
        map_put(rooms, room_id, room);
    }
    struct typist *typist = find(room, user_id);
    if (typing && typist) {
        typist->until_ms = now_ms + timeout_ms;
        return false;
    }
    if (typing == (typist != NULL) || (typing && room->count == TYPISTS_MAX))
        return false;
    if (typing) {
        char *copy = strndup(user_id.at, user_id.len);
        ensure(copy);
        room->typists[room->count++] = (struct typist){copy, now_ms + timeout_ms, now_ms};
    } else {
        drop(room, typist);
    }
    mark_changed(room, now_ms);
    return true;
}

struct slice typing_pack(struct arena *arena, struct slice user_id, bool typing, int64_t timeout_ms)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_string(&w, "user_id", user_id);
    json_put_bool(&w, "typing", typing);
    json_put_i64(&w, "timeout", timeout_ms);
    json_end_object(&w);
    return json_done(&w);
}

static void wake_room(struct worker *worker, struct slice room_id)
{
    char topic[300];
    int length = snprintf(topic, sizeof topic, "r:%.*s", PRI(room_id));
    stream_wake(worker, slice_of(topic, (size_t)length < sizeof topic ? (size_t)length : sizeof topic - 1));
}

void typing_heard(struct worker *worker, struct slice room_id, struct slice payload)
{
    struct arena *arena = arena_create(64 * 1024);
    const struct json *json = json_parse(arena, payload, JSON_LAX, NULL);
    struct slice user_id = json_get_string(json, "user_id");
    int64_t timeout_ms = 0;
    json_get_i64(json, "timeout", &timeout_ms);
    if (timeout_ms > TIMEOUT_MAX_MS)
        timeout_ms = TIMEOUT_MAX_MS;
    if (!slice_is_absent(user_id)) {
        pthread_mutex_lock(&lock);
        bool changed = apply(room_id, user_id, json_get_bool(json, "typing", false), timeout_ms);
        pthread_mutex_unlock(&lock);
        if (changed)
            wake_room(worker, room_id);
    }
    arena_destroy(&arena);
}

bool typing_is_news(struct slice room_id, struct slice user_id, bool typing)
{
    int64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&lock);
    struct typing_room *room = rooms ? map_get(rooms, room_id) : NULL;
    struct typist *typist = room ? find(room, user_id) : NULL;
    bool news = typing != (typist != NULL) || (typist && now_ms - typist->told_ms > TELL_AGAIN_MS);
    if (news && typist)
        typist->told_ms = now_ms;
    pthread_mutex_unlock(&lock);
    return news;
}

/* Rooms are woken after the lock is let go: up to a bound per turn, the rest next time. */
void typing_expire(struct worker *worker)
{
    enum { WAKES_MAX = 256 };
    char *woken[WAKES_MAX];
    size_t count = 0, at = 0;
    struct slice room_id;
    void *value;
    int64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&lock);
    while (rooms && count < WAKES_MAX && map_next(rooms, &at, &room_id, &value)) {
        struct typing_room *room = value;
        bool changed = false;
        for (size_t i = 0; i < room->count;) {
            if (room->typists[i].until_ms > now_ms) {
                i++;
                continue;
            }
            drop(room, &room->typists[i]);
            changed = true;
        }
        if (changed) {
            mark_changed(room, now_ms);
            woken[count] = strndup(room_id.at, room_id.len);
            ensure(woken[count++]);
        } else if (room->count == 0 && now_ms - room->changed_ms > FORGET_MS) {
            map_remove(rooms, room_id);
            room_free(room);
        }
    }
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < count; i++) {
        wake_room(worker, slice_from_cstr(woken[i]));
        free(woken[i]);
    }
}

/* ---- reading */

/* The users as one malloc'ed text, NUL between them: arenas are not asked under the lock. */
static char *copy_typists(const struct typing_room *room, size_t *length)
{
    size_t bytes = 0;
    for (size_t i = 0; i < room->count; i++)
        bytes += strlen(room->typists[i].user_id) + 1;
    char *text = malloc(bytes + 1), *end = text;
    ensure(text);
    for (size_t i = 0; i < room->count; i++)
        end = stpcpy(end, room->typists[i].user_id) + 1;
    *length = bytes;
    return text;
}

static struct slice write_event(struct arena *arena, const char *users, size_t length)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "m.typing");
    json_put_object(&w, "content");
    json_put_array(&w, "user_ids");
    for (const char *user = users; user < users + length; user += strlen(user) + 1)
        json_add_string(&w, slice_from_cstr(user));
    json_end_array(&w);
    json_end_object(&w);
    json_end_object(&w);
    return json_done(&w);
}

struct slice typing_event(struct arena *arena, struct slice room_id, int64_t after)
{
    size_t length = 0;
    char *users = NULL;
    pthread_mutex_lock(&lock);
    const struct typing_room *room = rooms ? map_get(rooms, room_id) : NULL;
    if (room && room->serial > after && (after || room->count))
        users = copy_typists(room, &length);
    pthread_mutex_unlock(&lock);
    if (!users)
        return SLICE_ABSENT;
    struct slice event = write_event(arena, users, length);
    free(users);
    return event;
}

size_t typing_changed(const struct map *mine, int64_t after, char **ids, size_t most)
{
    size_t count = 0, at = 0;
    struct slice room_id;
    void *value;
    bool fits = true;
    pthread_mutex_lock(&lock);
    while (rooms && fits && map_next(rooms, &at, &room_id, &value)) {
        if (((const struct typing_room *)value)->serial <= after || !map_has(mine, room_id))
            continue;
        fits = count < most;
        if (fits)
            ensure((ids[count++] = strndup(room_id.at, room_id.len)));
    }
    pthread_mutex_unlock(&lock);
    while (!fits && count)
        free(ids[--count]);
    return fits ? count : SIZE_MAX;
}

/* The rooms that changed are few: they are looked for among the user's. */
void typing_collect(struct sync_work *work)
{
    enum { CHANGED_MAX = 1024 };
    struct sync_room *changed[CHANGED_MAX];
    size_t count = 0, at = 0;
    struct slice room_id;
    void *value;
    int64_t after = ephemeral_after(work->request->since.serial);
    pthread_mutex_lock(&lock);
    while (rooms && count < CHANGED_MAX && map_next(rooms, &at, &room_id, &value)) {
        const struct typing_room *room = value;
        struct sync_room *mine = map_get(work->by_id, room_id);
        if (mine && mine->section == SECTION_JOIN && (room->serial > after || mine->newly_joined))
            changed[count++] = mine;
    }
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < count; i++)
        changed[i]->typing = typing_event(work->call->arena, changed[i]->room_id, changed[i]->newly_joined ? 0 : after);
}
