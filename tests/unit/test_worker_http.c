/* A worker's HTTP side against a real database: who may, what a body must be, parking, streams between processes, slots. The kind
 * is `accounts` with made-up handlers for some of its routes, and a `keys` that vouches for whom the test says. */
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

static struct reply whoami(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "user_id", call->requester.user_id);
    json_put_string(&w, "device_id", call->requester.device_id);
    json_put_bool(&w, "is_guest", call->requester.is_guest);
    json_end_object(&w);
    return reply_json(&w);
}

static struct reply change_password(struct call *call)
{
    struct slice value = json_get_string(call->json, "new_password");
    return slice_is_absent(value) ? call_fail(call, FAULT_BAD_JSON, "new_password must be a string") : whoami(call);
}

static struct reply register_available(struct call *call) /* what the request says, as the kit understood it */
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

static struct reply profile(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "userId", call_param(call, "userId"));
    json_end_object(&w);
    return reply_json(&w);
}

/* Waits for ?topic= for ?ms=, and says what it saw. With ?after=, it looks first whether more than that was heard already. */
static struct reply login_flows(struct call *call)
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
    .name = "long_read", .sql = "SELECT 1::bigint WHERE pg_sleep(4)::text IS NOT NULL", .columns = no_columns, .column_count = 1};
static void *background(void *worker);

/* Publishes body.key; with "token" it is a revocation. With "lose": a write whose answer does not come in time. */
static struct reply login_user(struct call *call)
{
    if (json_get_bool(call->json, "lose", false)) {
        int64_t ms = 200;
        json_get_i64(call->json, "ms", &ms);
        call->deadline_ms = clock_monotonic_ms() + ms;
        struct db_batch *batch = call_batch(call);
        db_add(batch, &slow_write, NULL);
        enum fault fault = db_run(batch);
        return fault ? call_fail(call, fault, NULL) : reply_empty();
    }
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

static struct reply federation_user_devices(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "origin", call->origin);
    json_end_object(&w);
    return reply_json(&w);
}

static void heard(struct worker *worker, const struct stream_hint *hint, bool gap, void *context)
{
    if (gap)
        atomic_fetch_add(&gaps, 1);
    if (hint && hint->kind == STREAM_profile && slice_eq(hint->payload, SLICE("payload"))) {
        atomic_fetch_add(&heard_count, 1); /* first make it visible, then wake */
        stream_wake(worker, hint->key);
    }
}

static void slots_changed_to(struct worker *worker, uint64_t owned, void *context)
{
    atomic_store(&slots_owned, owned);
}

static enum fault accounts_start(struct worker *worker)
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

static enum fault answer_verify(struct call *call, const void *request_, void *reply_)
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

static void introduce_all(struct play *play)
{
    struct actor *actors[] = {&play->accounts, &play->second, &play->keys};
    introduce(&play->stage, actors, 3);
}

static void add_token(struct play *play, const char *token, const char *user, const char *device)
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

static void open_stage(struct play *play)
{
    static char lines[512];
    snprintf(lines, sizeof lines, "database_url=%s\nthreads.accounts=3\ndatabase_connections=2\n", pg.url);
    stage_open(&play->stage, lines);
    play->accounts = actor_start(&play->stage, &accounts);
    play->keys = actor_start(&play->stage, &keys);
    introduce_all(play);
    play->socket = dial(&play->stage, &play->accounts);
}

static int open_play(void **state)
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

static int close_play(void **state)
{
    struct play *play = *state;
    struct actor *actors[] = {&play->accounts, &play->second, &play->keys};
    for (int i = 0; i < 3; i++) {
        if (actors[i]->pid)
            actor_drain(&play->stage, actors[i]);
    }
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

static uint64_t send_http(struct play *play, void *socket, const char *method, const char *target, const char *authorization,
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

static struct web receive_http(struct play *play, void *socket, uint64_t sent)
{
    struct http_reply reply;
    assert_int_equal(receive_reply(&play->stage, socket, MESSAGE_http, sent, &reply, NULL), FAULT_OK);
    return (struct web){(int)reply.status, json_parse(play->stage.arena, reply.body, JSON_LAX, NULL), reply.body};
}

static struct web http(struct play *play, const char *method, const char *target, const char *authorization, const char *body)
{
    return receive_http(play, play->socket, send_http(play, play->socket, method, target, authorization, body));
}

static void expect(struct web web, int status, const char *errcode)
{
    if (web.status != status)
        print_message("  %d %.*s\n", web.status, PRI(web.text));
    assert_int_equal(web.status, status);
    struct slice found = json_get_string(web.body, "errcode");
    assert_true(errcode ? slice_eq(found, slice_from_cstr(errcode)) : slice_is_absent(found));
}

#define V3 "/_matrix/client/v3/"

/* A number of register_available's answer: slots, gaps, heard. */
static int64_t number_of(struct play *play, void *socket, const char *name)
{
    int64_t number = -2;
    json_get_i64(receive_http(play, socket, send_http(play, socket, "GET", V3 "register/available", NULL, NULL)).body, name,
                 &number);
    return number;
}

/* Waits until a worker has heard from that many publishers (each new one is a gap). */
static void wait_for_gaps(struct play *play, void *socket, int64_t wanted)
{
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    while (number_of(play, socket, "gaps") < wanted && clock_monotonic_ms() < deadline_ms)
        usleep(5000);
    assert_true(number_of(play, socket, "gaps") >= wanted);
}

static void wait_for_metric(struct play *play, const char *line)
{
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    for (bool there = false; !there;) {
        tell(&play->accounts, SLICE("{\"type\":\"metrics\",\"id\":1}"));
        struct slice text = json_get_string(hear(&play->stage, &play->accounts, "metrics"), "text");
        there = memmem(text.at, text.len, line, strlen(line)) != NULL;
        assert_true(there || clock_monotonic_ms() < deadline_ms);
    }
}

static void access_tokens(void **state)
{
    struct play *play = *state;
    struct web web = http(play, "GET", V3 "account/whoami", "Bearer user-token", NULL);
    expect(web, 200, NULL);
    assert_true(slice_eq(json_get_string(web.body, "user_id"), SLICE("@u:test")));
    assert_true(slice_eq(json_get_string(web.body, "device_id"), SLICE("DEV")));
    expect(http(play, "GET", V3 "account/whoami", "bearer  user-token ", NULL), 200, NULL);
    expect(http(play, "GET", V3 "account/whoami?access_token=user-token", NULL, NULL), 200, NULL);
    expect(http(play, "GET", V3 "account/whoami", NULL, NULL), 401, "M_MISSING_TOKEN");
    expect(http(play, "GET", V3 "account/whoami", "Basic abc", NULL), 401, "M_MISSING_TOKEN");
    web = http(play, "GET", V3 "account/whoami", "Bearer wrong", NULL);
    expect(web, 401, "M_UNKNOWN_TOKEN");
    assert_true(json_is(json_get_cstr(web.body, "soft_logout"), JSON_BOOL));
    assert_false(json_get_bool(web.body, "soft_logout", true));
    web = http(play, "GET", V3 "account/whoami", "Bearer old-token", NULL);
    expect(web, 401, "M_UNKNOWN_TOKEN");
    assert_true(json_get_bool(web.body, "soft_logout", false));
    expect(http(play, "GET", V3 "account/whoami", "Bearer guest-token", NULL), 200, NULL);
    expect(http(play, "POST", V3 "account/password", "Bearer guest-token", "{}"), 403, "M_GUEST_ACCESS_FORBIDDEN");
    expect(http(play, "GET", V3 "account/whoami", "Bearer gone-token", NULL), 403, "M_USER_DEACTIVATED");
    web = http(play, "GET", "/_matrix/client/versions", "Bearer user-token", NULL); /* AUTH_OPTIONAL */
    assert_true(slice_eq(json_get_string(web.body, "user_id"), SLICE("@u:test")));
    web = http(play, "GET", "/_matrix/client/versions", "Bearer wrong", NULL);
    expect(web, 200, NULL);
    assert_true(slice_is_absent(json_get_string(web.body, "user_id")));
}

static void bodies(void **state)
{
    struct play *play = *state;
    const char *who = "Bearer user-token", *path = V3 "account/password";
    expect(http(play, "POST", path, who, "{\"new_password\":\"x\"}"), 200, NULL);
    expect(http(play, "POST", path, who, "{"), 400, "M_NOT_JSON");
    expect(http(play, "POST", path, who, "{\"a\":\"\\ud800\"}"), 400, "M_NOT_JSON");
    expect(http(play, "POST", path, who, "[1]"), 400, "M_BAD_JSON");
    expect(http(play, "POST", path, who, ""), 400, "M_BAD_JSON"); /* reads as {}: the handler misses its field */
    expect(http(play, "POST", path, who, NULL), 400, "M_BAD_JSON");
    expect(http(play, "POST", path, NULL, "{"), 401, "M_MISSING_TOKEN");
    char *large = malloc(70 * 1024);
    memset(large, ' ', 70 * 1024 - 1);
    large[70 * 1024 - 1] = '\0';
    expect(http(play, "POST", path, who, large), 413, "M_TOO_LARGE");
    free(large);
}

static void parameters(void **state)
{
    struct play *play = *state;
    struct web web = http(play, "GET", V3 "profile/%40a%3Ab%20c", NULL, NULL);
    assert_true(slice_eq(json_get_string(web.body, "userId"), SLICE("@a:b c")));
    expect(http(play, "GET", V3 "profile/%ff", NULL, NULL), 400, "M_INVALID_PARAM");
    expect(http(play, "GET", V3 "profile/a%00b", NULL, NULL), 400, "M_INVALID_PARAM");
    expect(http(play, "GET", V3 "profile/a?x=%ff", NULL, NULL), 400, "M_INVALID_PARAM");
    web = http(play, "GET", V3 "register/available?username=a+b%2B&number=-12&flag=false&via=x&via=y&&v%69a=z", NULL, NULL);
    assert_true(slice_eq(json_get_string(web.body, "username"), SLICE("a b+")));
    int64_t number = 0;
    assert_true(json_get_i64(web.body, "number", &number) && number == -12);
    assert_true(json_get_i64(web.body, "vias", &number) && number == 3);
    assert_false(json_get_bool(web.body, "flag", true));
    web = http(play, "GET", V3 "register/available?number=twelve", NULL, NULL);
    assert_false(json_get_bool(web.body, "number_is_fine", true));
    assert_true(json_get_i64(web.body, "number", &number) && number == 7);
    assert_true(slice_is_absent(json_get_string(web.body, "username")));
}

static void servers(void **state)
{
    struct play *play = *state;
    const char *path = "/_matrix/federation/v1/user/devices/@u:test";
    struct web web = http(play, "GET", path, "X-Matrix origin=\"other\",destination=\"test\",key=\"ed25519:1\",sig=\"good\"", NULL);
    expect(web, 200, NULL);
    assert_true(slice_eq(json_get_string(web.body, "origin"), SLICE("other")));
    static const char *const refused[] = {
        "X-Matrix origin=\"other\",key=\"ed25519:1\",sig=\"bad\"",
        "X-Matrix origin=\"other\",key=\"ed25519:1\",sig=\"nokey\"",
        "X-Matrix origin=\"other\",destination=\"third\",key=\"ed25519:1\",sig=\"good\"",
        "X-Matrix origin=\"test\",key=\"ed25519:1\",sig=\"good\"",
        "X-Matrix origin=\"no server!\",key=\"ed25519:1\",sig=\"good\"",
        "X-Matrix nonsense",
        "Bearer user-token",
        NULL,
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        expect(http(play, "GET", path, refused[i], NULL), 401, "M_UNAUTHORIZED");
    actor_kill(&play->keys); /* nobody can verify: try again later, not "forged" */
    introduce_all(play);
    usleep(50000);
    expect(http(play, "GET", path, "X-Matrix origin=\"other\",key=\"ed25519:1\",sig=\"good\"", NULL), 503, "M_UNKNOWN");
}

static void parking(void **state)
{
    struct play *play = *state;
    struct web web = http(play, "GET", V3 "login?topic=t1&ms=200", NULL, NULL);
    int64_t parked_ms = 0;
    assert_true(slice_eq(json_get_string(web.body, "woken_by"), SLICE("time")));
    assert_true(json_get_i64(web.body, "parked_ms", &parked_ms) && parked_ms >= 200 && parked_ms < 1000);
    /* Fifty parked calls hold none of the three threads. */
    wait_for_gaps(play, play->socket, 1);
    uint64_t sent[50];
    void *waiting = play->other = dial(&play->stage, &play->accounts);
    for (int i = 0; i < 50; i++)
        sent[i] = send_http(play, waiting, "GET", V3 "login?topic=t2&ms=15000", NULL, NULL);
    wait_for_metric(play, "myelin_calls_parked{kind=\"accounts\"} 50\n");
    expect(http(play, "GET", V3 "account/whoami", "Bearer user-token", NULL), 200, NULL);
    int64_t begun_us = clock_monotonic_us();
    expect(http(play, "POST", V3 "login", NULL, "{\"key\":\"t2\"}"), 200, NULL);
    for (int i = 0; i < 50; i++) {
        struct wire_message in;
        assert_true(receive_within(&play->stage, waiting, 10000, &in));
        assert_int_equal(in.header.fault, 0);
    }
    print_message("woke 50 in %d us, publication included\n", (int)(clock_monotonic_us() - begun_us));
    /* A cancelled one is forgotten. */
    uint64_t gone = send_http(play, waiting, "GET", V3 "login?topic=t3&ms=15000", NULL, NULL);
    wait_for_metric(play, "myelin_calls_parked{kind=\"accounts\"} 1\n");
    struct wire_message cancel = {.header = {.major = WIRE_MAJOR, .type = WIRE_CANCEL, .correlation = gone}}, in;
    assert_true(wire_send(waiting, &cancel));
    wait_for_metric(play, "myelin_calls_parked{kind=\"accounts\"} 0\n");
    assert_false(receive_within(&play->stage, waiting, 100, &in));
    /* A drain answers the parked ones as if their time were over. */
    sent[0] = send_http(play, waiting, "GET", V3 "login?topic=t4&ms=15000", NULL, NULL);
    wait_for_metric(play, "myelin_calls_parked{kind=\"accounts\"} 1\n");
    tell(&play->accounts, SLICE("{\"type\":\"drain\"}"));
    web = receive_http(play, waiting, sent[0]);
    assert_true(slice_eq(json_get_string(web.body, "woken_by"), SLICE("time")));
    assert_true(json_get_i64(web.body, "parked_ms", &parked_ms) && parked_ms >= 14000);
}

static void streams_between_processes(void **state)
{
    struct play *play = *state;
    play->second = actor_start(&play->stage, &accounts);
    introduce_all(play);
    void *other = play->other = dial(&play->stage, &play->second);
    wait_for_gaps(play, other, 2); /* itself and the other */
    enum { ROUNDS = 200 };
    int64_t total_us = 0, by_look = 0, before = number_of(play, other, "gaps");
    for (int i = 0; i < ROUNDS; i++) {
        /* No pause between the two: whatever comes first, the publication is seen, by the look or by the wake. */
        char target[128];
        snprintf(target, sizeof target, V3 "login?topic=x&ms=15000&after=%d", i);
        uint64_t waiting = send_http(play, other, "GET", target, NULL, NULL);
        int64_t begun_us = clock_monotonic_us();
        expect(http(play, "POST", V3 "login", NULL, "{\"key\":\"x\"}"), 200, NULL);
        struct slice woken_by = json_get_string(receive_http(play, other, waiting).body, "woken_by");
        total_us += clock_monotonic_us() - begun_us;
        assert_false(slice_eq(woken_by, SLICE("time")));
        by_look += slice_eq(woken_by, SLICE("a look"));
    }
    print_message("from the publishing request to the woken answer: %.0f us; %d seen by the look\n", (double)total_us / ROUNDS,
                  (int)by_look);
    assert_int_equal(number_of(play, other, "gaps"), before); /* nothing was lost on the way */
    actor_kill(&play->accounts);                              /* what it committed may not have been published: its end is a gap */
    introduce_all(play);
    wait_for_gaps(play, other, before + 1);
    wait_for_gaps(play, other, before + 2); /* what was on its way to PostgreSQL is there by now */
}

/* Nobody knows whether it was committed: those who listen look, at once and once more when it must be decided. */
static void a_lost_commit_is_a_gap_twice(void **state)
{
    struct play *play = *state;
    play->second = actor_start(&play->stage, &accounts);
    introduce_all(play);
    void *other = play->other = dial(&play->stage, &play->second);
    wait_for_gaps(play, other, 2);
    int64_t before = number_of(play, other, "gaps");
    expect(http(play, "POST", V3 "login", NULL, "{\"lose\":true}"), 504, "M_UNKNOWN");
    wait_for_gaps(play, other, before + 1);
    wait_for_gaps(play, other, before + 2);
    assert_int_equal(number_of(play, other, "gaps"), before + 2);
}

/* Until the calls answer of accounts has a call that waits for that; waits_for NULL: until it has none of the name. */
static void wait_for_call(struct play *play, const char *name, const char *waits_for)
{
    int64_t deadline_ms = clock_monotonic_ms() + 10000;
    for (bool there = false; !there;) {
        tell(&play->accounts, SLICE("{\"type\":\"calls\",\"id\":3}"));
        const struct json *calls = json_get_array(hear(&play->stage, &play->accounts, "calls"), "calls");
        json_each (call, calls)
            there |= slice_eq(json_get_string(call, "call"), slice_from_cstr(name)) &&
                     (!waits_for || slice_eq(json_get_string(call, "waits_for"), slice_from_cstr(waits_for)));
        there = waits_for ? there : !there;
        usleep(there ? 0 : 10000);
        assert_true(there || clock_monotonic_ms() < deadline_ms);
    }
}

/* A thread of the kind's own. */
static void *background(void *context)
{
    struct worker *worker = context;
    pthread_setname_np(pthread_self(), "sweeper");
    struct call *call = worker_call_begin(worker, 20000);
    struct db_batch *batch = call_batch(call);
    db_add(batch, &long_read, NULL);
    db_run(batch);
    worker_call_end(&call);
    return NULL;
}

static void whatever_waits_has_a_name(void **state)
{
    struct play *play = *state;
    void *other = play->other = dial(&play->stage, &play->accounts);
    send_http(play, other, "GET", V3 "login?topic=some%20topic&ms=15000", NULL, NULL);
    wait_for_call(play, "login_flows", "parked: some topic");
    send_http(play, other, "POST", V3 "login", NULL, "{\"lose\":true,\"ms\":3000}");
    wait_for_call(play, "login_user", "database: slow_write");
    send_http(play, other, "POST", V3 "login", NULL, "{\"background\":true}");
    wait_for_call(play, "sweeper", "database: long_read");
    /* Two connections, both taken */
    send_http(play, other, "POST", V3 "login", NULL, "{\"lose\":true,\"ms\":3000}");
    wait_for_call(play, "login_user", "database pool");
    wait_for_call(play, "sweeper", NULL);
}

static void revoked_tokens(void **state)
{
    struct play *play = *state;
    wait_for_gaps(play, play->socket, 1); /* it listens to itself too */
    expect(http(play, "GET", V3 "account/whoami", "Bearer user-token", NULL), 200, NULL);
    pg_sql(&pg, "DELETE FROM access_token WHERE device_id = 'DEV'");
    expect(http(play, "GET", V3 "account/whoami", "Bearer user-token", NULL), 200, NULL); /* remembered, five seconds at most */
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, (const unsigned char *)"user-token", 10);
    struct slice hex = hex_encode(play->stage.arena, slice_of(hash, sizeof hash));
    expect(http(play, "POST", V3 "login", NULL, arena_printf(play->stage.arena, "{\"token\":true,\"key\":\"%.*s\"}", PRI(hex)).at),
           200, NULL);
    int64_t deadline_ms = clock_monotonic_ms() + 3000; /* by itself it would be forgotten after five seconds */
    while (http(play, "GET", V3 "account/whoami", "Bearer user-token", NULL).status == 200 && clock_monotonic_ms() < deadline_ms)
        usleep(1000);
    expect(http(play, "GET", V3 "account/whoami", "Bearer user-token", NULL), 401, "M_UNKNOWN_TOKEN");
}

static uint64_t slots_of(struct play *play, void *socket)
{
    return (uint64_t)number_of(play, socket, "slots");
}

static void slots_have_one_owner(void **state)
{
    struct play *play = *state;
    int64_t deadline_ms = clock_monotonic_ms() + 5000;
    while (slots_of(play, play->socket) != UINT64_MAX && clock_monotonic_ms() < deadline_ms)
        usleep(20000);
    assert_true(slots_of(play, play->socket) == UINT64_MAX);
    play->second = actor_start(&play->stage, &accounts);
    introduce_all(play);
    void *other = play->other = dial(&play->stage, &play->second);
    uint64_t mine = 0, theirs = 0;
    deadline_ms = clock_monotonic_ms() + 5000;
    while (clock_monotonic_ms() < deadline_ms) {
        mine = slots_of(play, play->socket);
        theirs = slots_of(play, other);
        assert_int_equal(mine & theirs, 0);
        if ((mine | theirs) == UINT64_MAX && theirs)
            break;
        usleep(20000);
    }
    print_message("%d and %d slots\n", __builtin_popcountll(mine), __builtin_popcountll(theirs));
    assert_true((mine | theirs) == UINT64_MAX && mine && theirs);
    int64_t killed_ms = clock_monotonic_ms();
    actor_kill(&play->accounts);
    introduce_all(play);
    while (slots_of(play, other) != UINT64_MAX && clock_monotonic_ms() < killed_ms + 5000)
        usleep(20000);
    assert_true(slots_of(play, other) == UINT64_MAX);
    print_message("all slots %d ms after the kill\n", (int)(clock_monotonic_ms() - killed_ms));
}

/* The end of a process does not wait for a PostgreSQL that does not answer. */
static void a_frozen_server_does_not_keep_the_slots(void **state)
{
    struct play *play = *state;
    int64_t deadline_ms = clock_monotonic_ms() + 5000;
    while (slots_of(play, play->socket) != UINT64_MAX && clock_monotonic_ms() < deadline_ms)
        usleep(20000);
    pid_t postmaster = pg_freeze(&pg);
    int64_t begun_ms = clock_monotonic_ms();
    play->second = actor_start(&play->stage, &accounts); /* somebody to give slots to, which asks the server */
    introduce_all(play);
    usleep(300000);
    actor_drain(&play->stage, &play->accounts);
    actor_drain(&play->stage, &play->second);
    int64_t took_ms = clock_monotonic_ms() - begun_ms;
    pg_thaw(postmaster);
    assert_true(took_ms < 8000);
}

static void metrics(void **state)
{
    struct play *play = *state;
    http(play, "GET", V3 "account/whoami", "Bearer user-token", NULL);
    http(play, "GET", V3 "account/whoami", NULL, NULL);
    static const char *const wanted[] = {"myelin_calls_total{kind=\"accounts\",route=\"whoami\",status=\"2xx\"} 1\n",
                                         "myelin_calls_total{kind=\"accounts\",route=\"whoami\",status=\"4xx\"} 1\n",
                                         "myelin_call_ms_count{kind=\"accounts\",route=\"whoami\"} 2\n",
                                         "myelin_db_connections_open{kind=\"accounts\"} ",
                                         "myelin_calls_running{kind=\"accounts\"} "};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        wait_for_metric(play, wanted[i]);
}

static int start_database(void **state)
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

static int stop_database(void **state)
{
    pg_stop(&pg);
    return 0;
}

int main(int argc, char **argv)
{
    const struct worker_kind *const kinds[] = {&accounts, &keys};
    scripted_main(argc, argv, kinds, 2);
    const struct CMUnitTest tests[] = {
#define PLAY(f) cmocka_unit_test_setup_teardown(f, open_play, close_play)
        PLAY(access_tokens),
        PLAY(bodies),
        PLAY(parameters),
        PLAY(servers),
        PLAY(parking),
        PLAY(streams_between_processes),
        PLAY(revoked_tokens),
        PLAY(slots_have_one_owner),
        PLAY(a_lost_commit_is_a_gap_twice),
        PLAY(whatever_waits_has_a_name),
        PLAY(a_frozen_server_does_not_keep_the_slots),
        PLAY(metrics),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, start_database, stop_database);
}
