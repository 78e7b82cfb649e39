/* Filters of /sync: wrong types, limits, LIKE patterns, event_fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "workers/sync/filter.c"

static struct arena *arena;

static const struct json *json_of(const char *text)
{
    const struct json *json = json_parse(arena, slice_from_cstr(text), JSON_LAX, NULL);
    assert_non_null(json);
    return json;
}

static void test_wrong_types(void **state)
{
    static const char *const texts[] = {"[]",
                                        "{\"room\":1}",
                                        "{\"room\":{\"timeline\":[]}}",
                                        "{\"room\":{\"timeline\":{\"limit\":\"1\"}}}",
                                        "{\"room\":{\"rooms\":\"!a\"}}",
                                        "{\"presence\":{\"types\":[1]}}",
                                        "{\"event_fields\":\"content\"}",
                                        "{\"event_fields\":[1]}"};
    struct sync_filter filter;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (sync_filter_parse(json_of(texts[i]), &filter) != FAULT_BAD_JSON)
            fail_msg("taken: %s", texts[i]);
}

static void test_limits(void **state)
{
    struct sync_filter filter;
    assert_int_equal(sync_filter_parse(NULL, &filter), FAULT_OK);
    assert_int_equal(filter.timeline.limit, TIMELINE_DEFAULT);
    assert_int_equal(sync_filter_parse(json_of("{\"room\":{\"timeline\":{\"limit\":0}}}"), &filter), FAULT_OK);
    assert_true(filter.timeline_empty);
    assert_int_equal(sync_filter_parse(json_of("{\"room\":{\"include_leave\":true,\"timeline\":{\"limit\":99999}}}"), &filter),
                     FAULT_OK);
    assert_int_equal(filter.timeline.limit, TIMELINE_MAX);
    assert_true(filter.include_leave && !filter.timeline_empty);
}

static void test_patterns(void **state)
{
    struct slices patterns = sync_filter_patterns(arena, json_of("[\"m.*\",\"a_b%c\\\\\",\"*\"]"));
    assert_int_equal(patterns.len, 3);
    assert_true(slice_eq(patterns.at[0], SLICE("m.%")));
    assert_true(slice_eq(patterns.at[1], SLICE("a\\_b\\%c\\\\")));
    assert_true(slice_eq(patterns.at[2], SLICE("%")));
    assert_null(sync_filter_patterns(arena, NULL).at);
    assert_non_null(sync_filter_patterns(arena, json_of("[]")).at); /* an empty list lets nothing through */
}

static void expect_fields(const char *fields, const char *event, const char *expected)
{
    struct json_writer w = json_writer_in(arena);
    sync_filter_fields(&w, arena, json_of(fields), slice_from_cstr(event));
    struct slice got = json_done(&w);
    if (!slice_eq(got, slice_from_cstr(expected)))
        fail_msg("%s: %.*s", fields, PRI(got));
}

static void test_event_fields(void **state)
{
    static const char event[] = "{\"type\":\"m.x\",\"content\":{\"body\":\"b\",\"a.b\":1,\"in\":{\"x\":1,\"y\":2}}}";
    expect_fields("[\"type\"]", event, "{\"type\":\"m.x\"}");
    expect_fields("[\"content\"]", event, "{\"content\":{\"body\":\"b\",\"a.b\":1,\"in\":{\"x\":1,\"y\":2}}}");
    expect_fields("[\"content.body\",\"type\"]", event, "{\"type\":\"m.x\",\"content\":{\"body\":\"b\"}}");
    expect_fields("[\"content.in.y\"]", event, "{\"content\":{\"in\":{\"y\":2}}}");
    expect_fields("[\"content.a\\\\.b\"]", event, "{\"content\":{\"a.b\":1}}");
    expect_fields("[\"type.x\"]", event, "{}");
    expect_fields("[]", event, "{}");
}

static int set_up(void **state)
{
    arena = arena_create(1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    arena_destroy(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wrong_types), cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_patterns), cmocka_unit_test(test_event_fields)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
