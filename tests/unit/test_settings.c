/* The configuration: what is accepted, what is refused and with which words, and that a dump read back is the same. */
#include "lib/base/arena.h"
#include "lib/kit/endpoints.h"
#include "lib/kit/settings.h"
#include "lib/kit/settings_internal.h"
#include "lib/matrix/room_version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena *arena;
static char path[] = "/tmp/test_settings.XXXXXX";

static bool load(const char *yaml, const char *override, struct settings *out, const char **error)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(yaml ? yaml : "", file);
    fclose(file);
    return settings_load(arena, yaml ? path : NULL, &override, override ? 1 : 0, out, error);
}

static const struct {
    const char *name, *yaml, *override;
    const char *error; /* a part of it; NULL: accepted */
} cases[] = {
    {"nothing", NULL, NULL, NULL},
    {"empty file", "", NULL, NULL},
    {"only comments", "# nothing\n", NULL, NULL},
    {"plain", "server_name: a.example\n", NULL, NULL},
    {"nested", "replicas:\n  events: 2\n", NULL, NULL},
    {"value left out", "server_name:\nmetrics_listen: ~\n", NULL, NULL},
    {"numbers are text where text is wanted", "default_room_version: 12\n", NULL, NULL},
    {"quoted size", "max_upload_size: \"5MiB\"\n", NULL, NULL},
    {"unknown key", "server_name: x\nsever: y\n", NULL, ":2: sever: is not a known key"},
    {"unknown nested key", "a:\n  b:\n    c: 1\n", NULL, ":3: a.b.c: is not a known key"},
    {"unknown empty key", "sever:\n", NULL, ":1: sever: is not a known key"},
    {"unknown kind", "replicas: {event: 2}\n", NULL, "no kind of worker called \"event\""},
    {"replicas as text", "replicas: \"events=2, sync=3\"\n", NULL, NULL},
    {"replicas without number", "replicas: events\n", NULL, ":1: replicas: must be kind=N"},
    {"too many replicas", "replicas: {events: 1000}\n", NULL, "0 to 256"},
    {"no threads", "threads: {events: 0}\n", NULL, "1 to 1024"},
    {"truth", "presence: maybe\n", NULL, ":1: presence: must be true or false"},
    {"quoted truth", "presence: 'true'\n", NULL, "must be true or false"},
    {"number", "database_connections: many\n", NULL, "must be a whole number"},
    {"negative number", "database_connections: -1\n", NULL, "must not be negative"},
    {"number too big", "database_connections: 99999999999999999999\n", NULL, "must be a whole number"},
    {"size", "room_cache_size: 3 bananas\n", NULL, "must be a size"},
    {"size too big", "room_cache_size: 9223372036854775807KiB\n", NULL, "must be a size"},
    {"duration", "body_timeout: soon\n", NULL, "must be a duration"},
    {"one of", "password_cost: cheap\nlog_level: debug\n", NULL, NULL},
    {"none of", "server_name: x\npassword_cost: cheep\n", NULL, ":2: password_cost: must be one of: normal cheap"},
    {"a part of one", "log_level: inf\n", NULL, ":1: log_level: must be one of: error warn info debug"},
    {"two of", "log_level: info debug\n", NULL, ":1: log_level: must be one of"},
    {"nothing of", NULL, "log_level=", "log_level: must be one of"},
    {"a room version to come", "default_room_version: 13\n", NULL, ":1: default_room_version: must be one of"},
    {"list for one value", "server_name: [a, b]\n", NULL, "must be one value"},
    {"list of lists", "trusted_proxies: [[a]]\n", NULL, "plain values only"},
    {"map for a value", "server_name: {a: b}\n", NULL, "server_name.a: is not a known key"},
    {"twice", "presence: true\nserver_name: b\npresence: false\n", NULL, ":3: presence: was set before, in line 1"},
    {"bad YAML", "server_name: [a\n", NULL, ":2: "},
    {"tab", "a:\n\tb: 1\n", NULL, ":2: "},
    {"not a map", "- a\n- b\n", NULL, ":1: the file must hold lines"},
    {"two documents", "presence: true\n---\npresence: true\n", NULL, "only one document"},
    {"alias", "server_name: &a x\npublic_base_url: *a\n", NULL, "aliases are not supported"},
    {"deep", "a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}\n", NULL, "nested too deep"},
    {"new line in a value", "server_name: \"a\\nb\"\n", NULL, "must be one line"},
    {"NUL in a value", "server_name: \"a\\0b\"\n", NULL, "NUL"},
    {"override", NULL, "rate_limits=false", NULL},
    {"override without value", NULL, "rate_limits", "--set rate_limits: must be key=value"},
    {"override unknown", NULL, "ratelimits=1", "--set ratelimits: is not a known key"},
    {"override empty text", NULL, "database_url=", NULL},
    {"override with equals sign", NULL, "database_url=host=/tmp dbname=x", NULL},
    {"override replicas", NULL, "replicas.events=2", NULL},
    {"override bad kind", NULL, "replicas.=2", "no kind of worker"},
};

static void test_cases(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings settings = {.database_connections = -7};
        const char *error = NULL;
        bool loaded = load(cases[i].yaml, cases[i].override, &settings, &error);
        if (loaded != (cases[i].error == NULL) || (cases[i].error && !strstr(error, cases[i].error)))
            fail_msg("%s: %s", cases[i].name, error ? error : "accepted");
        if (!loaded)
            assert_int_equal(settings.database_connections, -7); /* untouched on failure */
    }
}

static void test_values(void **state)
{
    struct settings s;
    const char *error;
    assert_true(load("server_name: \"a.example\"\n"
                     "replicas: {events: 2, push: 0}\nthreads:\n  sync: 9\n"
                     "max_upload_size: 5MiB\nbody_timeout: 2m\nrequest_timeout: 1500\n"
                     "rate_limits: no\ntrusted_proxies:\n  - 10.0.0.1\n  - 10.0.0.2\n"
                     "tls_key: keys/tls.key\nfederation_ca_file: /etc/ca.pem\n",
                     "body_timeout=3s", &s, &error));
    assert_string_equal(s.server_name, "a.example");
    assert_int_equal(s.replicas_of[SERVICE_events], 2);
    assert_int_equal(s.replicas_of[SERVICE_push], 0);
    assert_int_equal(s.replicas_of[SERVICE_rooms], 1);
    assert_true(s.replicas_given[SERVICE_push]);
    assert_false(s.replicas_given[SERVICE_rooms]);
    assert_int_equal(s.threads_of[SERVICE_sync], 9);
    assert_int_equal(s.threads_of[SERVICE_federation], settings_threads(SERVICE_federation));
    assert_true(settings_threads(SERVICE_federation) >= service_facts(SERVICE_federation)->threads);
    assert_int_equal(settings_threads(SERVICE_signing), service_facts(SERVICE_signing)->threads); /* waits for nobody */
    assert_int_equal(settings_connections(&s, SERVICE_sync), 11);
    s.database_connections = 3;
    assert_int_equal(settings_connections(&s, SERVICE_sync), 3);
    assert_int_equal(s.max_upload_size, 5 * 1024 * 1024);
    assert_int_equal(s.body_timeout, 3000);
    assert_int_equal(s.request_timeout, 1500);
    assert_false(s.rate_limits);
    assert_true(s.presence);
    assert_string_equal(s.trusted_proxies, "10.0.0.1,10.0.0.2");
    assert_string_equal(s.tls_key, "/tmp/keys/tls.key"); /* beside the file */
    assert_string_equal(s.federation_ca_file, "/etc/ca.pem");
    assert_string_equal(s.tls_certificate, "");
}

static void test_dump_is_read_back(void **state)
{
    struct settings one, two;
    const char *error, *lines[512];
    size_t count = 0;
    assert_true(
        load("server_name: a.example\nreplicas: {events: 3}\nroom_cache_size: 1GiB\npresence: false\n", NULL, &one, &error));
    struct slice dump = settings_dump(arena, &one), rest = dump, line;
    while (slice_cut(rest, '\n', &line, &rest))
        lines[count++] = arena_cstr(arena, line);
    assert_true(settings_load(arena, NULL, lines, count, &two, &error));
    assert_true(slice_eq(dump, settings_dump(arena, &two)));
    assert_int_equal(two.replicas_of[SERVICE_events], 3);
    assert_int_equal(two.room_cache_size, 1 << 30);
}

static void test_missing_file(void **state)
{
    struct settings s;
    const char *error;
    assert_false(settings_load(arena, "/nonexistent/config.yaml", NULL, 0, &s, &error));
    assert_non_null(strstr(error, "/nonexistent/config.yaml: No such file"));
}

static void test_document_names_every_key(void **state)
{
    char *text = arena_cstr(arena, settings_document(arena));
    for (size_t i = 0; i < setting_key_count; i++)
        assert_non_null(strstr(text, arena_printf(arena, "\n| `%s` |", setting_keys[i].name).at));
    assert_non_null(strstr(text, "| `max_upload_size` | size | `100MiB` |"));
    assert_non_null(strstr(text, "| `body_timeout` | duration | `1m` |"));
}

/* The words of the setting are a copy: lib/kit cannot expand the table of versions at compile time. */
static void test_default_room_version_may_be_each(void **state)
{
    struct settings settings;
    const char *error;
    size_t count = 0;
    for (const struct room_version *version; (version = room_version_at(count)); count++) {
        if (!load(NULL, arena_printf(arena, "default_room_version=%s", version->id).at, &settings, &error))
            fail_msg("%s", error);
    }
    assert_int_equal(count, 12);
}

static const struct {
    const char *list, *wrong; /* NULL: accepted */
    int count;
    const char *host, *port; /* of the last */
    bool tls;
} listeners[] = {
    {"", NULL, 0, "", "", false},
    {"127.0.0.1:8008", NULL, 1, "127.0.0.1", "8008", false},
    {"127.0.0.1:8008,tls", NULL, 1, "127.0.0.1", "8008", true},
    {" *:80 , [::1]:8448 , tls ", NULL, 2, "::1", "8448", true},
    {"a:1,tls,b:2,plain", NULL, 2, "b", "2", false},
    {":0", NULL, 1, "", "0", false},
    {"8008", "8008", -1, "", "", false},
    {"tls,a:1", "tls", -1, "", "", false},
    {"a:1,::1:2", "::1:2", -1, "", "", false},
    {"a:65536", "a:65536", -1, "", "", false},
    {"a:http", "a:http", -1, "", "", false},
    {"a:1,TLS", "TLS", -1, "", "", false},
};

static void test_listeners(void **state)
{
    for (size_t i = 0; i < sizeof listeners / sizeof listeners[0]; i++) {
        struct endpoint found[ENDPOINTS_MAX] = {0};
        struct slice wrong = SLICE("");
        int count = endpoints_parse(listeners[i].list, found, 0, &wrong);
        if (count != listeners[i].count || (count < 0 && !slice_eq(wrong, slice_from_cstr(listeners[i].wrong))))
            fail_msg("\"%s\": %d, \"%.*s\"", listeners[i].list, count, PRI(wrong));
        if (count > 0) {
            assert_string_equal(found[count - 1].host, listeners[i].host);
            assert_string_equal(found[count - 1].port, listeners[i].port);
            assert_int_equal(found[count - 1].tls, listeners[i].tls);
        }
    }
}

int main(void)
{
    arena = arena_create(16 * 1024 * 1024);
    int file = mkstemp(path);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_dump_is_read_back),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_document_names_every_key),
        cmocka_unit_test(test_default_room_version_may_be_each),
        cmocka_unit_test(test_listeners),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    close(file);
    unlink(path);
    arena_destroy(&arena);
    return failed;
}
