/* The table of presences; see presence.h. Each change is published and takes effect in every replica when it is heard. Telling the
 * syncs that wait is the timer's work: changes of half a second share one look at the rooms concerned. */
#include "workers/sync/presence.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/kit/stream.h"
#include "lib/kit/worker.h"
#include "lib/matrix/ids.h"
#include "proto/stubs.h"
#include "workers/sync/queries.h"
#include "workers/sync/ring.h"
#include "workers/sync/typing.h"

enum { USERS_MAX = 50000, STATUS_MAX = 1024, GONE_MS = 45000, ACTIVE_MS = 60000, REFRESH_MS = 30000, BATCH_MAX = 500 };

struct person {
    enum presence_state state;
    char *status;      /* JSON string with quotes; NULL: none */
    int64_t active_ms; /* wall: last sign of life */
    int64_t until_ms;  /* wall: our users are offline past it; 0: others say so themselves */
    int64_t serial;    /* of the last change of state or status */
    int64_t told_ms;   /* wall: last published by this process */
    bool own;          /* this process saw his syncs */
    bool pending;      /* waiting syncs do not know yet */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *people; /* user id → struct person * */
static const char *const names[] = {"offline", "unavailable", "online"};

bool presence_state_from(struct slice name, enum presence_state *out)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (slice_eq(name, slice_from_cstr(names[i]))) {
            *out = (enum presence_state)i;
            return true;
        }
    }
    return false;
}

static struct person *person_of(struct slice user_id, bool make)
{
    if (!people)
        people = map_create(NULL);
    struct person *person = map_get(people, user_id);
    if (person || !make || map_count(people) >= USERS_MAX)
        return person;
    person = calloc(1, sizeof *person);
    ensure(person);
    map_put(people, user_id, person);
    return person;
}

/* ---- changes: published as {"state", "status", "active", "until"}, applied where they are heard, and here at once */

static struct slice pack(struct arena *arena, enum presence_state state, struct slice status, int64_t active_ms, int64_t until_ms)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_i64(&w, "state", state);
    json_put_raw(&w, "status", status);
    json_put_i64(&w, "active", active_ms);
    json_put_i64(&w, "until", until_ms);
    json_end_object(&w);
    return json_done(&w);
}

static bool is_same_text(const char *text, struct slice other)
{
    return text ? slice_eq(slice_from_cstr(text), other) && !slice_is_absent(other) : slice_is_absent(other);
}

/* Under the lock. True: state or status changed. */
static bool apply(struct person *person, enum presence_state state, struct slice status, int64_t active_ms, int64_t until_ms)
{
    bool changed = person->state != state || !is_same_text(person->status, status);
    if (active_ms > person->active_ms)
        person->active_ms = active_ms;
    if (until_ms > person->until_ms || state == PRESENCE_OFFLINE)
        person->until_ms = until_ms;
    if (!changed)
        return false;
    person->state = state;
    free(person->status);
    person->status = slice_is_absent(status) ? NULL : strndup(status.at, status.len);
    person->serial = ephemeral_next_serial();
    person->pending = true;
    return true;
}

void presence_heard(struct worker *worker, struct slice user_id, struct slice payload)
{
    (void)worker;
    struct arena *arena = arena_create(64 * 1024);
    const struct json *json = json_parse(arena, payload, JSON_LAX, NULL), *status = json_get_cstr(json, "status");
    int64_t state = 0, active_ms = 0, until_ms = 0;
    json_get_i64(json, "state", &state);
    json_get_i64(json, "active", &active_ms);
    json_get_i64(json, "until", &until_ms);
    if (json && state >= PRESENCE_OFFLINE && state <= PRESENCE_ONLINE) {
        pthread_mutex_lock(&lock);
        struct person *person = person_of(user_id, true);
        if (person)
            apply(person, (enum presence_state)state, status ? status->span : SLICE_ABSENT, active_ms, until_ms);
        pthread_mutex_unlock(&lock);
    }
    arena_destroy(&arena);
}

static struct slice quote(struct arena *arena, struct slice text)
{
    if (slice_is_absent(text))
        return SLICE_ABSENT;
    struct strbuf out = strbuf_in(arena);
    json_escape_into(&out, slice_sub(text, 0, STATUS_MAX));
    return utf8_is_valid(strbuf_slice(&out)) ? strbuf_slice(&out) : SLICE_ABSENT;
}

/* Other servers with a room in common hear of our users. */
static void tell_servers(struct call *call, struct slice user_id)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_servers_of(batch, user_id, server_name());
    if (db_run(batch) != FAULT_OK || db_affected(result) == 0)
        return;
    struct slice content = presence_content(call->arena, user_id);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_array(&w, "push");
    json_begin_object(&w);
    json_put_string(&w, "user_id", user_id);
    json_each (member, json_parse(call->arena, content, JSON_LAX, NULL)) {
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_end_object(&w);
    json_end_array(&w);
    json_end_object(&w);
    struct slice edu = json_done(&w);
    size_t most = (size_t)db_affected(result), count = 0;
    struct slice *servers = arena_new_array(call->arena, most, struct slice),
                 *types = arena_new_array(call->arena, most, struct slice),
                 *keys = arena_new_array(call->arena, most, struct slice),
                 *contents = arena_new_array(call->arena, most, struct slice);
    struct servers_of_row row;
    for (; count < most && servers_of_next(result, &row); count++) {
        servers[count] = row.server;
        types[count] = SLICE("m.presence");
        keys[count] = user_id;
        contents[count] = edu;
    }
    struct enqueue_edus_request request = {
        .destinations = {servers, count}, .types = {types, count}, .coalesce_keys = {keys, count}, .contents = {contents, count}};
    struct enqueue_edus_reply reply;
    call_enqueue_edus(call, SLICE_ABSENT, &request, &reply); /* presence that gets lost is replaced by the next */
}

static void change(struct call *call, struct slice user_id, enum presence_state state, struct slice status, int64_t until_ms)
{
    int64_t now_ms = clock_wall_ms();
    pthread_mutex_lock(&lock);
    struct person *person = person_of(user_id, true);
    bool changed = person && apply(person, state, status, now_ms, until_ms);
    bool tell = changed || (person && now_ms - person->told_ms > REFRESH_MS);
    if (person) {
        person->own = true;
        if (tell)
            person->told_ms = now_ms;
    }
    pthread_mutex_unlock(&lock);
    if (tell)
        stream_publish(call->worker, STREAM_presence, user_id, 0, 0, pack(call->arena, state, status, now_ms, until_ms));
    if (changed)
        tell_servers(call, user_id);
}

/* The status message survives syncs; under the lock it is copied to the heap first. */
static struct slice status_of(struct arena *arena, struct slice user_id)
{
    pthread_mutex_lock(&lock);
    const struct person *person = person_of(user_id, false);
    char *copy = person && person->status ? strdup(person->status) : NULL;
    pthread_mutex_unlock(&lock);
    struct slice status = arena_copy(arena, slice_from_cstr(copy));
    free(copy);
    return status;
}

void presence_seen(struct call *call, struct slice user_id, struct slice name)
{
    enum presence_state state = PRESENCE_ONLINE;
    int64_t timeout_ms = 0;
    if (!worker_settings(call->worker)->presence || slice_eq(name, SLICE("offline")))
        return;
    if (!slice_is_absent(name))
        presence_state_from(name, &state);
    call_query_i64(call, "timeout", &timeout_ms);
    timeout_ms = timeout_ms < 0 ? 0 : timeout_ms > 300000 ? 300000 : timeout_ms;
    change(call, user_id, state, status_of(call->arena, user_id), clock_wall_ms() + timeout_ms + GONE_MS);
}

void presence_set(struct call *call, struct slice user_id, enum presence_state state, struct slice status_msg)
{
    change(call, user_id, state, quote(call->arena, status_msg), clock_wall_ms() + GONE_MS);
}

void presence_from_remote(struct call *call, struct slice user_id, const struct json *push)
{
    enum presence_state state;
    int64_t ago_ms = 0, now_ms = clock_wall_ms();
    if (!presence_state_from(json_get_string(push, "presence"), &state))
        return;
    json_get_i64(push, "last_active_ago", &ago_ms);
    ago_ms = ago_ms < 0 || ago_ms > now_ms ? 0 : ago_ms;
    struct slice status = quote(call->arena, json_get_string(push, "status_msg"));
    stream_publish(call->worker, STREAM_presence, user_id, 0, 0, pack(call->arena, state, status, now_ms - ago_ms, 0));
}

/* ---- reading */

struct slice presence_content(struct arena *arena, struct slice user_id)
{
    int64_t now_ms = clock_wall_ms();
    struct person copy = {0};
    pthread_mutex_lock(&lock);
    const struct person *person = person_of(user_id, false);
    if (person) {
        copy = *person;
        copy.status = person->status ? strdup(person->status) : NULL;
    }
    pthread_mutex_unlock(&lock);
    if (!person)
        return SLICE_ABSENT;
    struct json_writer w = json_writer_in(arena);
    int64_t ago_ms = now_ms > copy.active_ms ? now_ms - copy.active_ms : 0;
    json_begin_object(&w);
    json_put_cstr(&w, "presence", names[copy.state]);
    json_put_i64(&w, "last_active_ago", ago_ms);
    json_put_raw(&w, "status_msg", slice_from_cstr(copy.status));
    if (copy.state == PRESENCE_ONLINE)
        json_put_bool(&w, "currently_active", ago_ms < ACTIVE_MS);
    json_end_object(&w);
    struct slice content = json_done(&w);
    free(copy.status);
    return content;
}

/* User ids changed after the serial, copied; at most BATCH_MAX, which bounds what one answer tells. */
static struct slices changed_after(struct arena *arena, int64_t serial)
{
    char *found[BATCH_MAX];
    size_t count = 0, at = 0;
    struct slice user_id;
    void *value;
    pthread_mutex_lock(&lock);
    while (people && count < BATCH_MAX && map_next(people, &at, &user_id, &value)) {
        if (((const struct person *)value)->serial > serial) {
            found[count] = strndup(user_id.at, user_id.len);
            ensure(found[count++]);
        }
    }
    pthread_mutex_unlock(&lock);
    struct slice *users = arena_new_array(arena, count, struct slice);
    for (size_t i = 0; i < count; i++) {
        users[i] = arena_copy(arena, slice_from_cstr(found[i]));
        free(found[i]);
    }
    return (struct slices){users, count};
}

static bool is_known(struct slice user_id)
{
    pthread_mutex_lock(&lock);
    bool known = person_of(user_id, false);
    pthread_mutex_unlock(&lock);
    return known;
}

static void put_event(struct sync_work *work, struct json_writer *w, struct slice user_id, size_t *told)
{
    struct slice content = presence_content(work->call->arena, user_id);
    if (slice_is_absent(content) || map_has(work->ignored, user_id) ||
        !event_filter_allows(&work->request->filter.presence, SLICE("m.presence"), user_id, NULL))
        return;
    json_begin_object(w);
    json_put_cstr(w, "type", "m.presence");
    json_put_string(w, "sender", user_id);
    json_put_raw(w, "content", content);
    json_end_object(w);
    ++*told;
}

/* Whose presence changed and whom the user shares a room with; and whoever he newly shares one with. */
enum fault presence_collect(struct sync_work *work)
{
    struct arena *arena = work->call->arena;
    if (!worker_settings(work->call->worker)->presence)
        return FAULT_OK;
    struct slices changed = changed_after(arena, work->request->first ? 0 : ephemeral_after(work->request->since.presence));
    struct map *told_of = map_create(arena);
    struct json_writer w = json_writer_in(arena);
    size_t told = 0;
    json_begin_array(&w);
    if (changed.len) {
        struct db_batch *batch = call_batch(work->call);
        struct db_result *result = q_sharing_of(batch, work->request->user_id, changed);
        enum fault fault = db_run(batch);
        struct sharing_of_row row;
        if (fault)
            return fault;
        while (sharing_of_next(result, &row))
            if (map_put(told_of, row.other, NULL))
                put_event(work, &w, row.other, &told);
    }
    for (size_t i = 0; i < work->devices_changed.len; i++)
        if (is_known(work->devices_changed.at[i]) && map_put(told_of, work->devices_changed.at[i], NULL))
            put_event(work, &w, work->devices_changed.at[i], &told);
    json_end_array(&w);
    if (told)
        work->presence = json_done(&w);
    return FAULT_OK;
}

/* ---- the timer's part */

/* Users of ours whose time is over, and everybody whom waiting syncs do not know yet. */
static size_t take_due(char **gone, char **pending, size_t *pending_count)
{
    size_t gone_count = 0, at = 0;
    struct slice user_id;
    void *value;
    int64_t now_ms = clock_wall_ms();
    pthread_mutex_lock(&lock);
    while (people && gone_count < BATCH_MAX && *pending_count < BATCH_MAX && map_next(people, &at, &user_id, &value)) {
        struct person *person = value;
        if (person->own && person->state != PRESENCE_OFFLINE && person->until_ms && person->until_ms < now_ms)
            gone[gone_count++] = strndup(user_id.at, user_id.len);
        if (person->pending) {
            person->pending = false;
            pending[(*pending_count)++] = strndup(user_id.at, user_id.len);
        }
    }
    pthread_mutex_unlock(&lock);
    return gone_count;
}

static void wake_rooms_of(struct call *call, char **users, size_t count)
{
    struct slice *ids = arena_new_array(call->arena, count, struct slice);
    for (size_t i = 0; i < count; i++)
        ids[i] = slice_from_cstr(users[i]);
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_rooms_of(batch, (struct slices){ids, count});
    struct rooms_of_row row;
    if (db_run(batch) != FAULT_OK)
        return;
    struct map *woken = map_create(call->arena);
    while (rooms_of_next(result, &row)) {
        if (!map_put(woken, row.room_id, NULL))
            continue;
        ring_hear_odd(row.room_id, 0);
        stream_wake(call->worker, arena_printf(call->arena, "r:%.*s", PRI(row.room_id)));
    }
}

void presence_tick(struct worker *worker)
{
    char *gone[BATCH_MAX], *pending[BATCH_MAX];
    size_t pending_count = 0, gone_count;
    if (!worker_settings(worker)->presence)
        return;
    gone_count = take_due(gone, pending, &pending_count);
    if (gone_count + pending_count == 0)
        return;
    struct call *call = worker_call_begin(worker, 5000);
    for (size_t i = 0; i < gone_count; i++)
        change(call, slice_from_cstr(gone[i]), PRESENCE_OFFLINE, status_of(call->arena, slice_from_cstr(gone[i])), 0);
    if (pending_count)
        wake_rooms_of(call, pending, pending_count);
    worker_call_end(&call);
    for (size_t i = 0; i < gone_count; i++)
        free(gone[i]);
    for (size_t i = 0; i < pending_count; i++)
        free(pending[i]);
}
