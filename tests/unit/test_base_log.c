/* Log lines, read back through a pipe and parsed: each must be one JSON object whatever the fields contain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/ensure.h"
#include "lib/base/json.h"
#include "lib/base/log.h"

/* Runs `act` with stderr in a pipe and gives what it wrote; it must fit into the pipe. */
static struct slice captured(void (*act)(void), char *room, size_t size)
{
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    act();
    dup2(saved, STDERR_FILENO);
    close(saved);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], room + length, size - length)) > 0;)
        length += (size_t)got;
    close(ends[0]);
    return slice_of(room, length);
}

static const struct json *parse_line(struct arena *arena, struct slice line)
{
    const char *error = "";
    assert_true(slice_ends_with(line, SLICE("\n")));
    const struct json *object = json_parse(arena, line, JSON_LAX, &error);
    if (!object)
        fail_msg("%s: %.*s", error, PRI(line));
    return object;
}

static void write_fields(void)
{
    log_set_trace("00ff00ff");
    log_event(LOG_INFO, "listening", LOG_STR("address", SLICE("a\"b\\c\n\x01\xff\xc3\xa4")), LOG_I64("port", 8448),
              LOG_STR("absent", SLICE_ABSENT), LOG_CSTR("null", NULL));
    log_set_trace(NULL);
}

static void a_line_is_a_json_object(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    char room[8192];
    log_init("test", LOG_INFO);
    const struct json *line = parse_line(arena, captured(write_fields, room, sizeof room));
    assert_true(slice_eq(json_get_string(line, "level"), SLICE("info")));
    assert_true(slice_eq(json_get_string(line, "kind"), SLICE("test")));
    assert_true(slice_eq(json_get_string(line, "trace"), SLICE("00ff00ff")));
    assert_true(slice_eq(json_get_string(line, "msg"), SLICE("listening")));
    assert_true(slice_eq(json_get_string(line, "address"), SLICE("a\"b\\c\n\x01\xef\xbf\xbd\xc3\xa4")));
    assert_true(slice_eq(json_get_string(line, "absent"), SLICE("")));
    assert_int_equal(json_get_string(line, "ts").len, strlen("2026-11-23T05:00:00.000Z"));
    int64_t port;
    assert_true(json_get_i64(line, "port", &port));
    assert_int_equal(port, 8448);
    assert_null(json_get_cstr(line, "cut"));
    arena_destroy(&arena);
}

static char long_text[10000];

/* Cut at every offset relative to the two-byte characters and the ending. */
static void long_lines_are_cut_cleanly(void **state)
{
    for (size_t i = 0; i + 1 < sizeof long_text; i += 2)
        memcpy(long_text + i, "\xc3\xa4", 2);
    for (size_t start = 3000; start < 5000; start += 7) {
        struct arena *arena = arena_create(1 << 20);
        char room[8192];
        long_text[0] = start % 2 ? '"' : ' ';
        long_text[1] = ' ';
        const struct log_field fields[] = {LOG_STR("text", slice_of(long_text, start)), LOG_I64("after", 1)};
        int ends[2], saved = dup(STDERR_FILENO);
        assert_int_equal(pipe(ends), 0);
        dup2(ends[1], STDERR_FILENO);
        log_write(LOG_WARN, "long", fields, 2);
        dup2(saved, STDERR_FILENO);
        close(saved);
        close(ends[1]);
        ssize_t got = read(ends[0], room, sizeof room);
        close(ends[0]);
        assert_in_range(got, 1, 4096);
        const struct json *line = parse_line(arena, slice_of(room, (size_t)got));
        if (start > 4096)
            assert_true(json_get_bool(line, "cut", false));
        arena_destroy(&arena);
    }
}

static void write_at_all_levels(void)
{
    log_event(LOG_ERROR, "e");
    log_event(LOG_WARN, "w");
    log_event(LOG_INFO, "i");
    log_event(LOG_DEBUG, "d");
}

static size_t lines_at(enum log_level level)
{
    char room[8192];
    log_set_level(level);
    struct slice text = captured(write_at_all_levels, room, sizeof room), head;
    size_t lines = 0;
    while (slice_cut(text, '\n', &head, &text))
        lines++;
    return lines;
}

static void levels(void **state)
{
    assert_int_equal(lines_at(LOG_ERROR), 1);
    assert_int_equal(lines_at(LOG_INFO), 3);
    assert_int_equal(lines_at(LOG_DEBUG), 4);
    enum log_level level = LOG_INFO;
    assert_false(log_level_from_name(SLICE("loud"), &level));
    assert_int_equal(level, LOG_INFO);
    assert_true(log_level_from_name(SLICE("debug"), &level));
    assert_int_equal(level, LOG_DEBUG);
}

static void fail_in_a_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        ensure(1 + 1 == 3);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void ensure_says_what_and_where(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    char room[8192];
    struct slice text = captured(fail_in_a_child, room, sizeof room), line;
    assert_true(slice_cut(text, '\n', &line, &text)); /* a sanitizer may add its own lines */
    const struct json *object = json_parse(arena, line, JSON_LAX, NULL);
    assert_true(slice_eq(json_get_string(object, "condition"), SLICE("1 + 1 == 3")));
    assert_true(slice_ends_with(json_get_string(object, "file"), SLICE("test_base_log.c")));
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_a_json_object),
        cmocka_unit_test(long_lines_are_cut_cleanly),
        cmocka_unit_test(levels),
        cmocka_unit_test(ensure_says_what_and_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
