/* The control channel from the child's side, talked to by a scripted supervisor over a socket pair. */
#include "lib/base/arena.h"
#include "lib/kit/control.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena *arena;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int peers_seen, drains_seen, reloads_seen;

static void bump(void *counter)
{
    pthread_mutex_lock(&lock);
    ++*(int *)counter;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}
static void await(int *counter, int wanted)
{
    pthread_mutex_lock(&lock);
    while (*counter < wanted)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}
static void on_peers(void *context)
{
    bump(&peers_seen);
}
static void on_drain(void *context)
{
    bump(&drains_seen);
}
static void on_reload(void *context)
{
    bump(&reloads_seen);
}
static struct slice on_calls(struct arena *into, void *context)
{
    return SLICE("[{\"what\":\"idle\"}]");
}
static void on_load(int64_t *queued, int64_t *running, void *context)
{
    *queued = 3;
    *running = 2;
}
static const struct control_events events = {
    .peers = on_peers, .drain = on_drain, .reload = on_reload, .calls = on_calls, .load = on_load};

static void tell(int to, const char *json)
{
    assert_true(control_send(to, slice_from_cstr(json)));
}
/* The next packet of the type; others (heartbeats) are skipped. */
static const struct json *hear(int from, const char *type)
{
    struct slice text;
    while (control_receive(from, arena, &text)) {
        const struct json *packet = json_parse(arena, text, JSON_LAX, NULL);
        assert_non_null(packet);
        if (slice_eq(json_get_string(packet, "type"), slice_from_cstr(type)))
            return packet;
    }
    fail_msg("the channel was closed before \"%s\" came", type);
    return NULL;
}

static void test_whole_talk(void **state)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    tell(pair[0], "{\"type\":\"from the future\"}");
    tell(pair[0], "not JSON");
    tell(pair[0], "{\"type\":\"settings\",\"lines\":\"server_name=a.example\\nreplicas.events=2\\n\",\"data\":\"/srv/data\"}");
    tell(pair[0], "{\"type\":\"peers\",\"generation\":1,\"peers\":[]}");
    struct control *control = control_attach(pair[1], &events);
    assert_non_null(control);
    assert_string_equal(control_settings(control)->server_name, "a.example");
    assert_string_equal(control_settings(control)->data_folder, "/srv/data");
    assert_int_equal(control_settings(control)->replicas_of[SERVICE_events], 2);
    const struct peers *first = control_peers(control);
    assert_int_equal(first->count, 0);

    int64_t number;
    const struct json *load = hear(pair[0], "load");
    assert_true(json_get_i64(load, "queued", &number) && number == 3);
    assert_true(json_get_i64(load, "running", &number) && number == 2);

    control_ready(control, 0x0123456789abcdef, "ipc:///x", "ipc:///y");
    const struct json *ready = hear(pair[0], "ready");
    assert_true(slice_eq(json_get_string(ready, "instance"), SLICE("0123456789abcdef")));
    assert_true(slice_eq(json_get_string(ready, "endpoint"), SLICE("ipc:///x")));
    assert_true(slice_eq(json_get_string(ready, "publisher"), SLICE("ipc:///y")));

    tell(pair[0],
         "{\"type\":\"peers\",\"generation\":7,\"peers\":["
         "{\"instance\":\"00000000000000aa\",\"kind\":\"events\",\"endpoint\":\"ipc:///e\",\"publisher\":\"ipc:///p\","
         "\"version\":\"1\",\"draining\":true},"
         "{\"instance\":\"00000000000000bb\",\"kind\":\"teleport\",\"endpoint\":\"x\",\"publisher\":\"\",\"version\":\"9\"},"
         "{\"instance\":\"zz\",\"kind\":\"events\",\"endpoint\":\"x\"},"
         "{\"instance\":\"00000000000000cc\",\"kind\":\"rooms\",\"endpoint\":\"ipc:///r\"}]}");
    await(&peers_seen, 1);
    const struct peers *second = control_peers(control);
    assert_int_equal(first->count, 0); /* still ours */
    control_peers_release(first);
    assert_int_equal(second->generation, 7);
    assert_int_equal(second->count, 2);
    assert_true(second->at[0].instance == 0xaa && second->at[0].kind == SERVICE_events && second->at[0].draining);
    assert_string_equal(second->at[0].publisher, "ipc:///p");
    assert_true(second->at[1].instance == 0xcc && second->at[1].kind == SERVICE_rooms && !second->at[1].draining);
    control_peers_release(second);

    tell(pair[0], "{\"type\":\"metrics\",\"id\":41}");
    const struct json *metrics = hear(pair[0], "metrics");
    assert_true(json_get_i64(metrics, "id", &number) && number == 41);
    assert_false(slice_is_absent(json_get_string(metrics, "text")));
    tell(pair[0], "{\"type\":\"calls\",\"id\":42}");
    const struct json *calls = hear(pair[0], "calls");
    assert_true(json_get_i64(calls, "id", &number) && number == 42);
    assert_int_equal(json_get_array(calls, "calls")->count, 1);

    tell(pair[0], "{\"type\":\"reload\",\"lines\":\"server_name=a.example\\npresence=false\\n\"}");
    await(&reloads_seen, 1);
    assert_false(control_settings(control)->presence);
    assert_string_equal(control_settings(control)->data_folder, "/srv/data");
    const struct settings *before = control_settings(control);
    tell(pair[0], "{\"type\":\"reload\",\"lines\":\"server_name=a.example\\npresence=false\\n\"}");
    await(&reloads_seen, 2);
    assert_ptr_equal(control_settings(control), before); /* nothing new */
    static char packet[40000];
    for (int i = 0; i < 600; i++) { /* any number of times, of any size */
        snprintf(packet, sizeof packet,
                 "{\"type\":\"reload\",\"lines\":\"server_name=a.example\\ntrusted_key_servers=%030000d\\n\"}", i);
        tell(pair[0], packet);
        await(&reloads_seen, 3 + i); /* both ends are in one process, and share its sending lock */
    }
    assert_int_equal(strlen(control_settings(control)->trusted_key_servers), 30000);
    assert_string_equal(control_settings(control)->data_folder, "/srv/data");
    tell(pair[0], "{\"type\":\"drain\"}");
    await(&drains_seen, 1);
    control_drained(control);
    hear(pair[0], "drained");
    /* The control thread owns pair[1] until this program ends. */
}

static void test_refusals(void **state)
{
    static const char *const first[] = {
        NULL, "{\"type\":\"settings\",\"lines\":\"no_such_key=1\\n\",\"data\":\"/\"}",
        "{\"type\":\"settings\",\"lines\":\"\",\"data\":\"/\"}", /* then no peers */
    };
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        if (first[i])
            tell(pair[0], first[i]);
        close(pair[0]);
        assert_null(control_attach(pair[1], &events));
        close(pair[1]);
    }
}

static void test_bad_lengths(void **state)
{
    int pair[2];
    struct slice text;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(write(pair[0], "\xff\xff\xff\xff{}", 6), 6);
    assert_false(control_receive(pair[1], arena, &text));
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(write(pair[0], "\x09\0\0\0{}", 6), 6);
    close(pair[0]);
    assert_false(control_receive(pair[1], arena, &text));
    assert_false(control_send(pair[1], SLICE("{}"))); /* and no SIGPIPE */
    close(pair[1]);
}

/* A child whose supervisor dies must not stay. */
static void test_end_with_supervisor(void **state)
{
    int pair[2], status;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t child = fork();
    if (child == 0) {
        close(pair[0]);
        if (!control_attach(pair[1], &events))
            _exit(2);
        pause();
        _exit(3);
    }
    close(pair[1]);
    tell(pair[0], "{\"type\":\"settings\",\"lines\":\"\",\"data\":\"/\"}");
    tell(pair[0], "{\"type\":\"peers\",\"generation\":1,\"peers\":[]}");
    hear(pair[0], "load");
    close(pair[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    arena = arena_create(64 * 1024 * 1024);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_lengths),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_end_with_supervisor),
        cmocka_unit_test(test_whole_talk),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(&arena);
    return failed;
}
