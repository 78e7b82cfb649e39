/* The writer: commas, escapes, what is left out, and that unbalanced use ends the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/json.h"

static struct arena *arena;

static int setup(void **state)
{
    arena = arena_create(16 << 20);
    return 0;
}

static int teardown(void **state)
{
    arena_destroy(&arena);
    return 0;
}

static void assert_text(struct slice actual, const char *expected)
{
    if (!slice_eq(actual, slice_from_cstr(expected)))
        fail_msg("wrote %.*s, want %s", PRI(actual), expected);
}

static void a_whole_reply(void **state)
{
    const struct json *parsed = json_parse(arena, SLICE("{\"e\": {\"k\" : 1}}"), JSON_LAX, NULL);
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_string(&w, "room_id", SLICE("!a:b"));
    json_put_string(&w, "absent", SLICE_ABSENT);
    json_put_cstr(&w, "null", NULL);
    json_put_cstr(&w, "empty", "");
    json_put_i64(&w, "n", INT64_MIN);
    json_put_bool(&w, "yes", true);
    json_put_raw(&w, "raw", SLICE("[1]"));
    json_put_raw(&w, "no_raw", SLICE_ABSENT);
    json_put_array(&w, "list");
    json_add_i64(&w, 1);
    json_add_bool(&w, false);
    json_add_null(&w);
    json_add_string(&w, SLICE("\"\n"));
    json_begin_object(&w);
    json_end_object(&w);
    json_begin_array(&w);
    json_end_array(&w);
    json_add_value(&w, json_get_cstr(parsed, "e"));
    json_end_array(&w);
    json_put_object(&w, "object");
    json_key(&w, SLICE("\x01"));
    json_add_raw(&w, SLICE("{}"));
    json_end_object(&w);
    json_put_i64(&w, "last", 0);
    json_end_object(&w);
    assert_text(json_done(&w), "{\"room_id\":\"!a:b\",\"empty\":\"\",\"n\":-9223372036854775808,\"yes\":true,\"raw\":[1],"
                               "\"list\":[1,false,null,\"\\\"\\n\",{},[],{\"k\" : 1}],\"object\":{\"\\u0001\":{}},\"last\":0}");
}

static void single_values(void **state)
{
    struct json_writer w = json_writer_in(arena);
    json_add_string(&w, SLICE(""));
    assert_text(json_done(&w), "\"\"");
    w = json_writer_in(arena);
    json_begin_array(&w);
    json_add_string(&w, SLICE_ABSENT); /* in a place that needs a value, absent is null */
    json_add_raw(&w, SLICE_ABSENT);
    json_add_value(&w, NULL);
    json_end_array(&w);
    assert_text(json_done(&w), "[null,null,null]");
}

/* An escape at every position of a text that is longer than two words. */
static void escapes_at_every_position(void **state)
{
    for (unsigned c = 0; c < 0x80; c++) {
        for (size_t position = 0; position < 20; position++) {
            char text[20];
            memset(text, 'x', sizeof text);
            text[position] = (char)c;
            struct strbuf out = strbuf_in(arena);
            json_escape_into(&out, slice_of(text, sizeof text));
            const struct json *back = json_parse(arena, strbuf_slice(&out), JSON_CANONICAL, NULL);
            assert_non_null(back);
            assert_true(slice_eq(back->text, slice_of(text, sizeof text)));
            bool escaped = c < 0x20 || c == '"' || c == '\\';
            assert_int_equal(strbuf_slice(&out).len > sizeof text + 2, escaped);
        }
        arena_reset(arena);
    }
}

static bool dies(void (*act)(struct json_writer *w))
{
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        struct json_writer w = json_writer_in(arena);
        act(&w);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) || WEXITSTATUS(status) != 0;
}

static void leave_open(struct json_writer *w)
{
    json_begin_object(w);
    json_done(w);
}

static void close_twice(struct json_writer *w)
{
    json_begin_array(w);
    json_end_array(w);
    json_end_array(w);
}

static void two_keys(struct json_writer *w)
{
    json_begin_object(w);
    json_key_cstr(w, "a");
    json_key_cstr(w, "b");
}

static void key_without_value(struct json_writer *w)
{
    json_begin_object(w);
    json_key_cstr(w, "a");
    json_end_object(w);
}

static void nothing_at_all(struct json_writer *w)
{
    json_done(w);
}

static void too_deep(struct json_writer *w)
{
    for (int i = 0; i <= JSON_DEPTH_MAX; i++)
        json_begin_array(w);
}

static void one_value(struct json_writer *w)
{
    json_add_null(w);
    json_done(w);
}

static void unbalanced_use_ends_the_process(void **state)
{
    assert_true(dies(leave_open));
    assert_true(dies(close_twice));
    assert_true(dies(two_keys));
    assert_true(dies(key_without_value));
    assert_true(dies(nothing_at_all));
    assert_true(dies(too_deep));
    assert_false(dies(one_value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_reply),
        cmocka_unit_test(single_values),
        cmocka_unit_test(escapes_at_every_position),
        cmocka_unit_test(unbalanced_use_ends_the_process),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
