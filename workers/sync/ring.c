/* The log of hints; see ring.h. One lock for all of it: the link thread adds, handlers look, both for microseconds. Entries
 * that a reader holds outlive their eviction. */
#include "workers/sync/ring.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/map.h"
#include "workers/sync/counters.h"

enum { USERS_MAX = 100000, WALK_MAX = 4096 };

struct ring_room {
    struct ring_entry *newest;
};
struct ring_user {
    int64_t heard, pos;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ring_entry *newest, *oldest;
static struct map *rooms, *users; /* room id → struct ring_room *, user id → struct ring_user * */
static size_t bytes, limit;
static int64_t heard, lost_heard, gap_heard, users_lost_heard;

void ring_start(size_t limit_bytes)
{
    limit = limit_bytes;
    rooms = map_create(NULL);
    users = map_create(NULL);
}

/* ---- entries */

static void unref(struct ring_entry *entry)
{
    if (--entry->refs == 0)
        free(entry);
}

static void evict_oldest(void)
{
    struct ring_entry *entry = oldest;
    oldest = entry->newer;
    *(oldest ? &oldest->older : &newest) = NULL;
    lost_heard = entry->heard;
    bytes -= entry->bytes;
    if (entry->room->newest == entry) {
        map_remove(rooms, entry->room_id);
        free(entry->room);
    }
    unref(entry);
}

static struct ring_room *room_of(struct slice room_id)
{
    struct ring_room *room = map_get(rooms, room_id);
    if (room)
        return room;
    room = calloc(1, sizeof *room);
    ensure(room);
    map_put(rooms, room_id, room);
    return room;
}

static void add(struct ring_entry *entry)
{
    entry->room = room_of(entry->room_id);
    entry->older_in_room = entry->room->newest;
    entry->older_heard = entry->older_in_room ? entry->older_in_room->heard : 0;
    entry->room->newest = entry;
    entry->heard = ++heard;
    entry->refs = 1;
    entry->older = newest;
    *(newest ? &newest->newer : &oldest) = entry;
    newest = entry;
    bytes += entry->bytes;
    while (bytes > limit && oldest)
        evict_oldest();
    metric_set(counters.ring_bytes, (int64_t)bytes);
}

/* Entry and texts in one block. */
static struct ring_entry *make(enum ring_kind kind, const struct slice *texts)
{
    enum { TEXTS = 7 };
    size_t size = sizeof(struct ring_entry);
    for (size_t i = 0; i < TEXTS; i++)
        size += texts[i].len;
    struct ring_entry *entry = malloc(size);
    ensure(entry);
    *entry = (struct ring_entry){.kind = kind, .bytes = size + 2 * sizeof(void *)};
    struct slice *places[TEXTS] = {&entry->room_id,   &entry->event_id, &entry->type,   &entry->sender,
                                   &entry->device_id, &entry->txn_id,   &entry->payload};
    char *at = (char *)(entry + 1);
    for (size_t i = 0; i < TEXTS; i++) {
        if (slice_is_absent(texts[i]))
            continue;
        memcpy(at, texts[i].at, texts[i].len);
        *places[i] = slice_of(at, texts[i].len);
        at += texts[i].len;
    }
    return entry;
}

static void add_locked(struct ring_entry *entry)
{
    pthread_mutex_lock(&lock);
    add(entry);
    pthread_mutex_unlock(&lock);
}

/* ---- hearing */

/* Only messages of ours are plain: state moves summaries and members, a redaction changes what was told, and another server's event
 * may come with a gap before it. */
static bool is_plain(const struct stream_event *event)
{
    return slice_is_absent(event->state_key) && event->local && !event->state_changed &&
           !slice_eq(event->type, SLICE("m.room.redaction"));
}

void ring_hear_event(const struct stream_event *event, int64_t pos)
{
    if (event->soft_failed || event->outlier)
        return;
    if (!is_plain(event)) {
        ring_hear_odd(event->room_id, pos);
        return;
    }
    struct ring_entry *entry = make(RING_EVENT, (const struct slice[]){event->room_id, event->event_id, event->type, event->sender,
                                                                       event->device_id, event->txn_id, event->json});
    entry->pos = pos;
    entry->event_nid = event->event_nid;
    entry->room_pos = event->room_pos;
    entry->origin_server_ts = event->origin_server_ts;
    add_locked(entry);
}

void ring_hear_receipts(struct slice room_id, struct slice payload, int64_t pos)
{
    struct ring_entry *entry = make(RING_RECEIPT, (const struct slice[]){room_id, SLICE_ABSENT, SLICE_ABSENT, SLICE_ABSENT,
                                                                         SLICE_ABSENT, SLICE_ABSENT, payload});
    entry->pos = pos;
    add_locked(entry);
}

void ring_hear_odd(struct slice room_id, int64_t pos)
{
    struct ring_entry *entry = make(RING_ODD, (const struct slice[7]){room_id});
    entry->pos = pos;
    add_locked(entry);
}

static void forget_users(void)
{
    size_t at = 0;
    void *user;
    while (users && map_next(users, &at, NULL, &user))
        free(user);
    map_destroy(&users);
}

void ring_hear_user(struct slice user_id, int64_t pos)
{
    pthread_mutex_lock(&lock);
    struct ring_user *user = map_get(users, user_id);
    if (!user && map_count(users) >= USERS_MAX) {
        forget_users();
        users = map_create(NULL);
        users_lost_heard = heard;
    }
    if (!user) {
        user = calloc(1, sizeof *user);
        ensure(user);
        map_put(users, user_id, user);
    }
    user->heard = ++heard;
    user->pos = pos;
    pthread_mutex_unlock(&lock);
}

void ring_hear_gap(void)
{
    pthread_mutex_lock(&lock);
    gap_heard = ++heard;
    pthread_mutex_unlock(&lock);
}

void ring_stop(void)
{
    pthread_mutex_lock(&lock);
    while (oldest)
        evict_oldest();
    forget_users();
    map_destroy(&rooms);
    pthread_mutex_unlock(&lock);
}

/* ---- asking */

int64_t ring_heard(void)
{
    pthread_mutex_lock(&lock);
    int64_t now = heard;
    pthread_mutex_unlock(&lock);
    return now;
}

/* False: it is odd, or there is no place for it. */
static bool consider(const struct ring_question *question, struct ring_entry *entry, struct ring_found *found)
{
    if (entry->pos && sync_token_saw(question->base, entry->pos))
        return true;
    if (entry->kind == RING_ODD)
        return false;
    if (entry->kind == RING_EVENT && sync_token_got(question->base, entry->event_nid))
        return true;
    if (found->count == RING_FOUND_MAX)
        return false;
    found->entries[found->count++] = entry;
    return true;
}

/* Either through what everybody heard since, or through the reader's rooms: whichever is shorter. */
static bool walk(const struct ring_question *question, struct ring_found *found)
{
    int64_t since = heard - question->after;
    if (since <= (int64_t)map_count(question->rooms) * 4 + 64) {
        for (struct ring_entry *entry = newest; entry && entry->heard > question->after; entry = entry->older)
            if (map_has(question->rooms, entry->room_id) && !consider(question, entry, found))
                return false;
        return true;
    }
    size_t at = 0, steps = 0;
    struct slice room_id;
    while (map_next(question->rooms, &at, &room_id, NULL)) {
        const struct ring_room *room = map_get(rooms, room_id);
        struct ring_entry *entry = room && room->newest->heard > question->after ? room->newest : NULL;
        while (entry && steps++ < WALK_MAX) {
            if (!consider(question, entry, found))
                return false;
            entry = entry->older_heard > question->after ? entry->older_in_room : NULL; /* beyond lost_heard it dangles */
        }
    }
    return steps < WALK_MAX;
}

static bool is_covered(const struct ring_question *question)
{
    const struct ring_user *user = map_get(users, question->user_id);
    if (question->after < gap_heard || question->after < lost_heard || question->after < users_lost_heard)
        return false;
    return !user || user->heard <= question->after || (user->pos && sync_token_saw(question->base, user->pos));
}

static int by_heard(const void *left, const void *right)
{
    const struct ring_entry *a = *(struct ring_entry *const *)left, *b = *(struct ring_entry *const *)right;
    return (a->heard > b->heard) - (a->heard < b->heard);
}

bool ring_ask(const struct ring_question *question, struct ring_found *found)
{
    found->count = 0;
    pthread_mutex_lock(&lock);
    found->heard = heard;
    bool sure = is_covered(question) && walk(question, found);
    if (!sure)
        found->count = 0;
    for (size_t i = 0; i < found->count; i++)
        found->entries[i]->refs++;
    pthread_mutex_unlock(&lock);
    qsort(found->entries, found->count, sizeof found->entries[0], by_heard);
    return sure;
}

void ring_let_go(struct ring_found *found)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < found->count; i++)
        unref(found->entries[i]);
    found->count = 0;
    pthread_mutex_unlock(&lock);
}
