/* Asking for keys; see key_fetch.h. Equal look-ups meet: one of the threads asks, the others wait for it. Nobody waits before his
 * own questions are answered, so threads cannot wait for each other in a circle. */
#include "workers/keys/key_fetch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/kit/metrics.h"
#include "lib/kit/worker.h"
#include "lib/matrix/ids.h"
#include "proto/stubs.h"

enum {
    ASK_WITHIN_MS = 10000,
    ASK_AGAIN_MS = 60000,
    NOTARY_ANSWER_BYTES_MAX = 16 * 1024 * 1024,
    NOTARIES_MAX = 8,
    NOTARY_SERVERS_MAX = 100, /* in one question: what we answer ourselves */
    MANY_SERVERS = 16,        /* from so many on the notaries come first: one question instead of so many connections */
};

struct flight { /* a server that is being asked */
    int references;
    bool is_over;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t landed;
static struct map *flights;            /* guarded by lock: server → struct flight */
static int waiting[2], waiting_max[2]; /* by enum fetch_for; guarded by lock */
static struct metric *asked_servers, *asked_notaries, *failed, *refused;

void key_fetch_start(struct worker *worker)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&landed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    flights = map_create(NULL);
    int threads = worker_settings(worker)->threads_of[worker_service(worker)];
    waiting_max[FETCH_TO_VERIFY] = threads / 2 > 0 ? threads / 2 : 1;
    waiting_max[FETCH_TO_VOUCH] = threads / 4 > 0 ? threads / 4 : 1; /* anybody may ask, for any name */
    refused = metric_counter("myelin_keys_fetches_refused_total", "Look-ups that found too many others waiting", NULL);
    asked_servers = metric_counter("myelin_keys_fetches_total", "Questions for keys to other servers", "to=\"server\"");
    asked_notaries = metric_counter("myelin_keys_fetches_total", "Questions for keys to other servers", "to=\"notary\"");
    failed = metric_counter("myelin_keys_fetch_failures_total", "Servers whose keys nobody gave", NULL);
}

bool key_record_may_ask(const struct key_record *record, int64_t now_ms)
{
    return now_ms >= record->retry_ms && (record->failures > 0 || now_ms >= record->asked_ms + ASK_AGAIN_MS);
}

/* ---- meeting of equal look-ups */

struct boarding {
    struct slice server;
    struct flight *flight;
    bool leads;
};

static void flight_release(struct flight *flight) /* under the lock */
{
    if (--flight->references == 0)
        free(flight);
}

/* Also when the call ends early, by its memory limit: who follows must not wait for ever. */
static void land(void *object)
{
    struct boarding *boarding = object;
    pthread_mutex_lock(&lock);
    struct flight *flight = boarding->flight;
    if (flight && boarding->leads && !flight->is_over) {
        flight->is_over = true;
        map_remove(flights, boarding->server);
        flight_release(flight); /* the map's */
        pthread_cond_broadcast(&landed);
    }
    if (flight)
        flight_release(flight);
    boarding->flight = NULL;
    pthread_mutex_unlock(&lock);
}

static void board(struct call *call, struct boarding *boarding)
{
    struct flight *fresh = calloc(1, sizeof *fresh);
    ensure(fresh);
    pthread_mutex_lock(&lock);
    boarding->flight = map_get(flights, boarding->server);
    boarding->leads = !boarding->flight;
    if (boarding->leads) {
        boarding->flight = fresh;
        fresh->references = 1;
        map_put(flights, boarding->server, fresh);
        fresh = NULL;
    }
    boarding->flight->references++;
    pthread_mutex_unlock(&lock);
    free(fresh);
    arena_defer(call->arena, land, boarding);
}

static void wait_for(const struct boarding *boarding, int64_t deadline_ms)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    pthread_mutex_lock(&lock);
    for (int waited = 0; !boarding->flight->is_over && waited != ETIMEDOUT;)
        waited = pthread_cond_timedwait(&landed, &lock, &until);
    pthread_mutex_unlock(&lock);
}

/* ---- asking */

static void note_bad_answer(struct slice server, const char *why)
{
    log_event(LOG_INFO, "a server's keys are not acceptable", LOG_STR("server", server), LOG_CSTR("why", why));
}

/* All at once; clears the entries that answered well (server absent then). */
static void ask_servers(struct call *call, struct slice *servers, size_t count)
{
    struct bus_ticket **tickets = arena_new_array(call->arena, count, struct bus_ticket *);
    for (size_t i = 0; i < count; i++) {
        struct fetch_request request = {.destination = servers[i],
                                        .method = SLICE("GET"),
                                        .uri = SLICE("/_matrix/key/v2/server"),
                                        .timeout_ms = ASK_WITHIN_MS,
                                        .size_max = KEY_ANSWER_BYTES_MAX,
                                        .ignore_backoff = true}; /* we keep our own */
        tickets[i] = call_fetch_send(call, servers[i], &request);
    }
    metric_add(asked_servers, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        struct fetch_reply reply;
        struct key_answer answer;
        const char *why = "no answer";
        enum fault fault = call_bus_wait(call, tickets[i], &reply);
        if (!fault && reply.status == 200 && key_answer_read(call->arena, reply.body, servers[i], clock_wall_ms(), &answer, &why)) {
            key_record_learn(call, &answer);
            servers[i] = SLICE_ABSENT;
        } else {
            note_bad_answer(servers[i], fault ? fault_facts(fault)->name : why);
        }
    }
}

/* The entries that are still there, moved to the front. */
static size_t still_wanted(struct slice *servers, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (!slice_is_absent(servers[i]))
            servers[left++] = servers[i];
    }
    return left;
}

/* The notary's own keys, to check its signature with. */
static const struct key_record *notary_record(struct call *call, struct slice notary)
{
    const struct key_record *record = key_record_get(call, notary);
    int64_t now_ms = clock_wall_ms();
    if (record->valid_until_ts >= now_ms || now_ms < record->retry_ms)
        return record;
    struct slice server = notary;
    ask_servers(call, &server, 1);
    if (!slice_is_absent(server))
        key_record_failed(call, notary);
    return key_record_get(call, notary);
}

static bool notary_signed(struct call *call, const struct json *value, struct slice notary, const struct key_record *record)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct verify_key *key = &record->keys[i];
        if (!key->is_old && verify_key_is_good_at(key, clock_wall_ms()) &&
            key_signed(call->arena, value, notary, key->key_id, key->public_key))
            return true;
    }
    return false;
}

static struct slice notary_question(struct call *call, const struct slice *servers, size_t count)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "server_keys");
    for (size_t i = 0; i < count; i++) {
        json_key(&w, servers[i]);
        json_begin_object(&w);
        json_end_object(&w);
    }
    json_end_object(&w);
    json_end_object(&w);
    return json_done(&w);
}

static void ask_notary(struct call *call, struct slice notary, const struct key_record *record, struct slice *servers, size_t count)
{
    struct fetch_request request = {.destination = notary,
                                    .method = SLICE("POST"),
                                    .uri = SLICE("/_matrix/key/v2/query"),
                                    .sign = true,
                                    .timeout_ms = ASK_WITHIN_MS,
                                    .size_max = NOTARY_ANSWER_BYTES_MAX,
                                    .content = notary_question(call, servers, count)};
    struct fetch_reply reply;
    metric_add(asked_notaries, 1);
    if (call_fetch(call, notary, &request, &reply) || reply.status != 200)
        return;
    const struct json *answer = json_parse(call->arena, reply.body, JSON_CANONICAL, NULL);
    json_each (value, json_get_array(answer, "server_keys")) {
        for (size_t i = 0; i < count; i++) {
            struct key_answer keys;
            const char *why = "not signed by the notary";
            if (slice_is_absent(servers[i]) || !slice_eq(servers[i], json_get_string(value, "server_name")))
                continue;
            if (notary_signed(call, value, notary, record) &&
                key_answer_check(call->arena, value, servers[i], clock_wall_ms(), &keys, &why)) {
                key_record_learn(call, &keys);
                servers[i] = SLICE_ABSENT;
            } else {
                note_bad_answer(servers[i], why);
            }
        }
    }
}

/* The servers that are left are moved to the front; returns how many. */
static size_t ask_notaries(struct call *call, struct slice *servers, size_t count)
{
    struct slice rest = slice_from_cstr(worker_settings(call->worker)->trusted_key_servers), name;
    for (int asked = 0; asked < NOTARIES_MAX && count && rest.len; asked++) {
        if (!slice_cut(rest, ',', &name, &rest)) {
            name = rest;
            rest = SLICE("");
        }
        name = slice_trim(name);
        if (!server_name_is_valid(name) || slice_eq(name, server_name()))
            continue;
        const struct key_record *record = notary_record(call, name);
        for (size_t from = 0; record->count && from < count; from += NOTARY_SERVERS_MAX)
            ask_notary(call, name, record, servers + from, count - from < NOTARY_SERVERS_MAX ? count - from : NOTARY_SERVERS_MAX);
        count = still_wanted(servers, count);
    }
    return count;
}

/* ---- not all threads may wait */

struct waiter {
    enum fetch_for purpose;
    bool counts;
};

static void stop_waiting(void *object)
{
    struct waiter *waiter = object;
    pthread_mutex_lock(&lock);
    waiting[waiter->purpose] -= waiter->counts;
    waiter->counts = false;
    pthread_mutex_unlock(&lock);
}

/* Under the lock: others ask for all of these already. */
static bool are_asked_for(struct slices servers)
{
    for (size_t i = 0; i < servers.len; i++)
        if (!map_has(flights, servers.at[i]))
            return false;
    return true;
}

/* Who only joins others to verify is not counted: look-ups of one server come one after another (the message's lane). */
static bool may_wait(struct call *call, enum fetch_for purpose, struct slices servers, struct waiter **out)
{
    struct waiter *waiter = *out = arena_new(call->arena, struct waiter);
    waiter->purpose = purpose;
    arena_defer(call->arena, stop_waiting, waiter);
    pthread_mutex_lock(&lock);
    bool joins = purpose == FETCH_TO_VERIFY && are_asked_for(servers);
    waiter->counts = !joins && waiting[purpose] < waiting_max[purpose];
    waiting[purpose] += waiter->counts;
    bool may = joins || waiter->counts;
    pthread_mutex_unlock(&lock);
    if (!may)
        metric_add(refused, 1);
    return may;
}

void keys_fetch(struct call *call, enum fetch_for purpose, struct slices servers)
{
    struct waiter *waiter;
    if (!may_wait(call, purpose, servers, &waiter))
        return;
    struct boarding *boardings = arena_new_array(call->arena, servers.len, struct boarding);
    struct slice *ours = arena_new_array(call->arena, servers.len, struct slice);
    size_t count = 0;
    for (size_t i = 0; i < servers.len; i++) {
        boardings[i].server = servers.at[i];
        board(call, &boardings[i]);
        if (boardings[i].leads)
            ours[count++] = servers.at[i];
    }
    int64_t deadline_ms = call->deadline_ms, within_ms = clock_monotonic_ms() + ASK_WITHIN_MS;
    call->deadline_ms = within_ms < deadline_ms ? within_ms : deadline_ms;
    bool notaries_first = count >= MANY_SERVERS;
    if (notaries_first)
        count = ask_notaries(call, ours, count);
    ask_servers(call, ours, count);
    count = still_wanted(ours, count);
    call->deadline_ms = deadline_ms;
    if (!notaries_first)
        count = ask_notaries(call, ours, count);
    for (size_t i = 0; i < count; i++)
        key_record_failed(call, ours[i]);
    metric_add(failed, (int64_t)count);
    for (size_t i = 0; i < servers.len; i++) {
        if (boardings[i].leads)
            land(&boardings[i]);
    }
    for (size_t i = 0; i < servers.len; i++) {
        if (boardings[i].flight) {
            wait_for(&boardings[i], deadline_ms);
            land(&boardings[i]);
        }
    }
    stop_waiting(waiter);
}
