/* What a worker's HTTP side asks of a request: who may, what a body and parameters must be; and what it counts. */
#include "http_play.h"

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
    actor_calls(&play->stage, &play->accounts); /* it has heard of it */
    expect(http(play, "GET", path, "X-Matrix origin=\"other\",key=\"ed25519:1\",sig=\"good\"", NULL), 503, "M_UNKNOWN");
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
    expect(http(play, "POST", V3 "login", NULL, "{\"key\":\"later\"}"), 200, NULL); /* heard, and so is what came before it */
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    while (number_of(play, play->socket, "heard") < 1 && clock_monotonic_ms() < deadline_ms)
        usleep(1000);
    expect(http(play, "GET", V3 "account/whoami", "Bearer user-token", NULL), 401, "M_UNKNOWN_TOKEN");
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

int main(int argc, char **argv)
{
    const struct worker_kind *const kinds[] = {&accounts, &keys};
    scripted_main(argc, argv, kinds, 2);
    const struct CMUnitTest tests[] = {
        PLAY(access_tokens), PLAY(bodies), PLAY(parameters), PLAY(servers), PLAY(revoked_tokens), PLAY(metrics),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, start_database, stop_database);
}
