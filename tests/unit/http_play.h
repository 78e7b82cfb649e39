/* The play of the tests of a worker's HTTP side: `accounts` with made-up handlers for some of its routes, a `keys` that vouches for
 * whom the test says, and a real database. */
#ifndef MYELIN_TESTS_HTTP_PLAY_H
#define MYELIN_TESTS_HTTP_PLAY_H

#include "scripted.h"

#include "lib/base/base64.h"
#include "lib/kit/migrate.h"
#include "proto/pack.h"
#include "tests/lib/pg.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>

/* ---- accounts */

static _Atomic uint64_t slots_owned;
static atomic_int gaps, heard_count;

static inline struct reply whoami(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "user_id", call->requester.user_id);
    json_put_string(&w, "device_id", call->requester.device_id);
    json_put_bool(&w, "is_guest", call->requester.is_guest);
    json_end_object(&w);
    return reply_json(&w);
}

static inline struct reply change_password(struct call *call)
{
    struct slice value = json_get_string(call->json, "new_password");
    return slice_is_absent(value) ? call_fail(call, FAULT_BAD_JSON, "new_password must be a string") : whoami(call);
}

static inline struct reply register_available(struct call *call) /* what the request says, as the kit understood it */
{
    struct json_writer w = json_writer_in(call->arena);
    int64_t number = 7;
    bool fine = call_query_i64(call, "number", &number);
    struct slices all = call_query_all(call, "via");
    json_begin_object(&w);
    json_put_string(&w, "username", call_query(call, "username"));
    json_put_i64(&w, "number", number);
    json_put_bool(&w, "number_is_fine", fine);
    json_put_bool(&w, "flag", call_query_bool(call, "flag", true));
    json_put_i64(&w, "vias", (int64_t)all.len);
    json_put_i64(&w, "slots", (int64_t)atomic_load(&slots_owned));
    json_put_i64(&w, "gaps", atomic_load(&gaps));
    json_put_i64(&w, "heard", atomic_load(&heard_count));
    json_end_object(&w);
    return reply_json(&w);
}

static inline struct reply profile(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "userId", call_param(call, "userId"));
    json_end_object(&w);
    return reply_json(&w);
}

/* Waits for ?topic= for ?ms=, and says what it saw. With ?after=, it looks first whether more than that was heard already. */
static inline struct reply login_flows(struct call *call)
{
    int64_t ms = 0, after = INT64_MAX;
    call_query_i64(call, "ms", &ms);
    call_query_i64(call, "after", &after);
    bool is_there = atomic_load(&heard_count) > after;
    if (!is_there && !call->wake_topic && call->parked_ms < ms) {
        struct slice *topic = arena_new(call->arena, struct slice);
        *topic = call_query(call, "topic");
        return call_park(call, topic, 1, clock_monotonic_ms() + ms - call->parked_ms);
    }
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "woken_by", call->wake_topic ? call->wake_topic : is_there ? "a look" : "time");
    json_put_i64(&w, "parked_ms", call->parked_ms);
    json_end_object(&w);
    return reply_json(&w);
}

static const enum db_type no_columns[] = {DB_BIGINT};
static const struct db_statement slow_write = {.name = "slow_write",
                                               .sql = "UPDATE account SET created_ts = 1 WHERE user_id = '@u:test' "
                                                      "AND pg_sleep(10)::text IS NOT NULL RETURNING 1::bigint",
                                               .columns = no_columns,
                                               .column_count = 1,
                                               .writes = true};

static const struct db_statement long_read = {
    .name = "long_read", .sql = "SELECT 1::bigint WHERE pg_sleep(600)::text IS NOT NULL", .columns = no_columns, .column_count = 1};

static inline enum fault read_long(struct call *call)
{
    struct db_batch *batch = call_batch(call);
    db_add(batch, &long_read, NULL);
    return db_run(batch);
}

/* A thread of the kind's own. */
static inline void *background(void *context)
{
    struct worker *worker = context;
    pthread_setname_np(pthread_self(), "sweeper");
    struct call *call = worker_call_begin(worker, 20000);
    read_long(call);
    worker_call_end(&call);
    return NULL;
}

/* Publishes body.key; with "token" it is a revocation. With "lose": a write whose answer does not come in time. With "read" and
 * "background": reads that take until somebody cancels them. */
static inline struct reply login_user(struct call *call)
{
    if (json_get_bool(call->json, "lose", false)) {
        call->deadline_ms = clock_monotonic_ms() + 1000; /* by then PostgreSQL has got it, and works on it */
        struct db_batch *batch = call_batch(call);
        db_add(batch, &slow_write, NULL);
        enum fault fault = db_run(batch);
        return fault ? call_fail(call, fault, NULL) : reply_empty();
    }
    if (json_get_bool(call->json, "read", false))
        return read_long(call) ? call_fail(call, FAULT_DEADLINE, NULL) : reply_empty();
    if (json_get_bool(call->json, "background", false)) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, background, call->worker), 0);
        pthread_detach(thread);
        return reply_empty();
    }
    bool token = json_get_bool(call->json, "token", false);
    stream_publish(call->worker, token ? STREAM_token : STREAM_profile, json_get_string(call->json, "key"), 0, 0, SLICE("payload"));
    return reply_empty();
}

static inline struct reply federation_user_devices(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "origin", call->origin);
    json_end_object(&w);
    return reply_json(&w);
}

static inline void heard(struct worker *worker, const struct stream_hint *hint, bool gap, void *context)
{
    if (gap)
        atomic_fetch_add(&gaps, 1);
    if (hint && hint->kind == STREAM_profile && slice_eq(hint->payload, SLICE("payload"))) {
        atomic_fetch_add(&heard_count, 1); /* first make it visible, then wake */
        stream_wake(worker, hint->key);
    }
}

static inline void slots_changed_to(struct worker *worker, uint64_t owned, void *context)
{
    atomic_store(&slots_owned, owned);
}

static inline enum fault accounts_start(struct worker *worker)
{
    stream_listen(worker, SERVICE_accounts, heard, NULL);
    return worker_slots(worker, slots_changed_to, NULL);
}

static const struct worker_route accounts_routes[] = {{"whoami", whoami},
                                                      {"versions", whoami},
                                                      {"change_password", change_password},
                                                      {"register_available", register_available},
                                                      {"profile", profile},
                                                      {"login_flows", login_flows},
                                                      {"login_user", login_user},
                                                      {"federation_user_devices", federation_user_devices},
                                                      {NULL, NULL}};
static const struct worker_kind accounts = {.service = SERVICE_accounts, .routes = accounts_routes, .start = accounts_start};

/* ---- keys: a signature is right when it is the base64 of "good" */

static inline enum fault answer_verify(struct call *call, const void *request_, void *reply_)
{
    const struct verify_request *request = request_;
    struct verify_reply *reply = reply_;
    int64_t *results = arena_new_array(call->arena, request->servers.len, int64_t);
    for (size_t i = 0; i < request->servers.len; i++) {
        bool signed_for_us = memmem(request->messages.at[i].at, request->messages.at[i].len, "\"destination\":\"test\"", 20);
        results[i] = slice_eq(request->signatures.at[i], SLICE("good")) && signed_for_us ? FAULT_OK
                     : slice_eq(request->signatures.at[i], SLICE("nokey"))               ? FAULT_PEER
                                                                                         : FAULT_INVALID_SIGNATURE;
    }
    reply->results = (struct i64s){results, request->servers.len};
    return FAULT_OK;
}
static const struct worker_message keys_messages[] = {{MESSAGE_verify, answer_verify}, {0, NULL}};
static const struct worker_kind keys = {.service = SERVICE_keys, .messages = keys_messages};

/* ---- the play */

static struct pg pg;

struct play {
    struct stage stage;
    struct actor accounts, second, keys;
    void *socket, *other; /* to accounts, to another of the test's choice */
};

static inline void introduce_all(struct play *play)
{
    struct actor *actors[] = {&play->accounts, &play->second, &play->keys};
    introduce(&play->stage, actors, 3);
}

static inline void add_token(struct play *play, const char *token, const char *user, const char *device)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, (const unsigned char *)token, strlen(token));
    struct slice hex = hex_encode(play->stage.arena, slice_of(hash, sizeof hash));
    pg_sql(&pg,
           arena_printf(play->stage.arena,
                        "INSERT INTO access_token (token_hash, user_id, device_id, created_ts) VALUES ('\\x%.*s', '%s', '%s', 0)",
                        PRI(hex), user, device)
               .at);
}

static inline void open_stage(struct play *play)
{
    static char lines[512];
    snprintf(lines, sizeof lines, "database_url=%s\nthreads.accounts=3\ndatabase_connections=2\n", pg.url);
    stage_open(&play->stage, lines);
    play->accounts = actor_start(&play->stage, &accounts);
    play->keys = actor_start(&play->stage, &keys);
    introduce_all(play);
    play->socket = dial(&play->stage, &play->accounts);
}

static inline int open_play(void **state)
{
    struct play *play = calloc(1, sizeof *play);
    pg_sql(&pg, "DELETE FROM account");
    open_stage(play);
    pg_sql(&pg, "INSERT INTO account (user_id, created_ts, is_guest, is_deactivated) VALUES "
                "('@guest:test', 0, true, false), ('@gone:test', 0, false, true), ('@u:test', 0, false, false)");
    add_token(play, "user-token", "@u:test", "DEV");
    add_token(play, "guest-token", "@guest:test", "G");
    add_token(play, "gone-token", "@gone:test", "X");
    add_token(play, "old-token", "@u:test", "OLD");
    pg_sql(&pg, "UPDATE access_token SET expires_ts = 1000 WHERE device_id = 'OLD'");
    *state = play;
    return 0;
}

static inline int close_play(void **state)
{
    struct play *play = *state;
    struct actor *actors[] = {&play->accounts, &play->second, &play->keys};
    actors_drain(&play->stage, actors, 3);
    zmq_close(play->socket);
    if (play->other)
        zmq_close(play->other);
    stage_close(&play->stage);
    free(play);
    return 0;
}

struct web {
    int status;
    const struct json *body;
    struct slice text;
};

static inline uint64_t send_http(struct play *play, void *socket, const char *method, const char *target, const char *authorization,
                                 const char *body)
{
    struct slice whole = slice_from_cstr(target), path = whole, query = SLICE_ABSENT, params[ROUTE_PARAMS_MAX];
    slice_cut(whole, '?', &path, &query);
    size_t count = 0;
    bool known;
    const struct route *route = route_match(play->stage.arena, slice_from_cstr(method), path, params, &count, &known);
    assert_non_null(route);
    struct http_request request = {
        .route_key = (int64_t)route_key(route),
        .target = whole,
        .params = {params, count},
        .query = query,
        .authorization = slice_from_cstr(authorization),
        .remote_address = SLICE("127.0.0.1"),
        .body = slice_from_cstr(body),
    };
    return send_request(&play->stage, socket, MESSAGE_http, SLICE_ABSENT, 20000, &request);
}

static inline struct web receive_http(struct play *play, void *socket, uint64_t sent)
{
    struct http_reply reply;
    assert_int_equal(receive_reply(&play->stage, socket, MESSAGE_http, sent, &reply, NULL), FAULT_OK);
    return (struct web){(int)reply.status, json_parse(play->stage.arena, reply.body, JSON_LAX, NULL), reply.body};
}

static inline struct web http(struct play *play, const char *method, const char *target, const char *authorization,
                              const char *body)
{
    return receive_http(play, play->socket, send_http(play, play->socket, method, target, authorization, body));
}

static inline void expect(struct web web, int status, const char *errcode)
{
    if (web.status != status)
        print_message("  %d %.*s\n", web.status, PRI(web.text));
    assert_int_equal(web.status, status);
    struct slice found = json_get_string(web.body, "errcode");
    assert_true(errcode ? slice_eq(found, slice_from_cstr(errcode)) : slice_is_absent(found));
}

#define V3 "/_matrix/client/v3/"

/* A number of register_available's answer: slots, gaps, heard. */
static inline int64_t number_of(struct play *play, void *socket, const char *name)
{
    int64_t number = -2;
    json_get_i64(receive_http(play, socket, send_http(play, socket, "GET", V3 "register/available", NULL, NULL)).body, name,
                 &number);
    return number;
}

/* Waits until a worker has heard from that many publishers (each new one is a gap). */
static inline void wait_for_gaps(struct play *play, void *socket, int64_t wanted)
{
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    while (number_of(play, socket, "gaps") < wanted && clock_monotonic_ms() < deadline_ms)
        usleep(5000);
    assert_true(number_of(play, socket, "gaps") >= wanted);
}

static inline void wait_for_metric(struct play *play, const char *line)
{
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    for (bool there = false; !there;) {
        tell(&play->accounts, SLICE("{\"type\":\"metrics\",\"id\":1}"));
        struct slice text = json_get_string(hear(&play->stage, &play->accounts, "metrics"), "text");
        there = memmem(text.at, text.len, line, strlen(line)) != NULL;
        assert_true(there || clock_monotonic_ms() < deadline_ms);
    }
}

static inline int start_database(void **state)
{
    struct arena *arena = arena_create(64 * 1024 * 1024);
    struct migrate_report report;
    pg = pg_start();
    enum migrate_result result = migrate_run(pg.url, MYELIN_SOURCE_DIR "/schema", arena, &report);
    if (result)
        print_message("%s\n", report.error);
    arena_destroy(&arena);
    return result;
}

static inline int stop_database(void **state)
{
    pg_stop(&pg);
    return 0;
}

#define PLAY(f) cmocka_unit_test_setup_teardown(f, open_play, close_play)

#endif
