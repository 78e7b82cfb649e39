/* Spans of one level: by a table, and on random texts against the parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "lib/base/json_spans.h"

/* "key=value|…" of an object, "value|…" of an array; "!" and the error behind it. */
static struct slice listed(struct arena *arena, struct slice text, enum json_type type)
{
    struct json_spans spans;
    struct strbuf out = strbuf_in(arena);
    struct slice key, value;
    if (json_spans_begin(&spans, arena, text, type))
        while (json_spans_next(&spans, &key, &value)) {
            if (type == JSON_OBJECT)
                strbuf_printf(&out, "%.*s=", PRI(key));
            strbuf_printf(&out, "%.*s|", PRI(value));
        }
    if (spans.error)
        strbuf_printf(&out, "!%s", spans.error);
    return strbuf_slice(&out);
}

static void tables(void **state)
{
    static const struct {
        enum json_type type;
        const char *text, *expected;
    } cases[] = {
        {JSON_ARRAY, "[]", ""},
        {JSON_ARRAY, " [ ] ", ""},
        {JSON_ARRAY, "[1, true ,\"a,]\\\"\\\\\",{\"x\":[1,\"}\"]} ]", "1|true|\"a,]\\\"\\\\\"|{\"x\":[1,\"}\"]}|"},
        {JSON_OBJECT, "{\"state\":[{}],\"\\u0061\":null}", "state=[{}]|a=null|"},
        {JSON_OBJECT, "{\"a\":1,\"a\":2}", "a=1|a=2|"},
        {JSON_OBJECT, "[]", "!{ expected"},
        {JSON_ARRAY, "", "![ expected"},
        {JSON_ARRAY, "[1", "1|!comma or bracket expected"},
        {JSON_ARRAY, "[1,", "1|!value expected"},
        {JSON_ARRAY, "[1,]", "1|!value expected"},
        {JSON_ARRAY, "[,1]", "!value expected"},
        {JSON_ARRAY, "[1 2]", "1|!comma or bracket expected"},
        {JSON_ARRAY, "[1}", "1|!comma or bracket expected"},
        {JSON_ARRAY, "[1]x", "1|!text after the value"},
        {JSON_ARRAY, "[\"a\\\"]", "!unterminated string"},
        {JSON_ARRAY, "[[1]", "[1]|!comma or bracket expected"},
        {JSON_ARRAY, "[{\"a\":1", "!unterminated object or array"},
        {JSON_ARRAY, "[{\"a\":1]]", "{\"a\":1]|"}, /* brackets are only counted: who parses the span finds out */
        {JSON_OBJECT, "{\"a\" 1}", "!colon expected"},
        {JSON_OBJECT, "{a:1}", "!key expected"},
        {JSON_OBJECT, "{\"a\":}", "!value expected"},
        {JSON_OBJECT, "{\"\\ud800\":1}", "!lone surrogate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena *arena = arena_create(1 << 20);
        struct slice found = listed(arena, slice_from_cstr(cases[i].text), cases[i].type);
        if (!slice_eq(found, slice_from_cstr(cases[i].expected)))
            fail_msg("%s: %.*s", cases[i].text, PRI(found));
        arena_destroy(&arena);
    }
}

static void counts(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    size_t count = 99;
    assert_true(json_spans_count(arena, SLICE("[1,[2,3],{}]"), &count));
    assert_int_equal(count, 3);
    assert_false(json_spans_count(arena, SLICE("[1,[2,3"), &count));
    assert_false(json_spans_count(arena, SLICE("{}"), &count));
    assert_false(json_spans_count(arena, SLICE_ABSENT, &count));
    arena_destroy(&arena);
}

/* Texts of few characters, most of them no JSON: where the parser finds an array, the spans are its elements'. */
static void as_the_parser_does(void **state)
{
    static const char letters[] = "[]{}\"\\,:1a \n";
    unsigned seed = (unsigned)time(NULL);
    size_t good = 0;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 300000; round++) {
        char text[24] = "[";
        size_t length = 1 + (size_t)(rand_r(&seed) % 20);
        for (size_t i = 1; i < length; i++)
            text[i] = letters[(size_t)rand_r(&seed) % (sizeof letters - 1)];
        text[length++] = ']';
        struct arena *arena = arena_create(1 << 20);
        const struct json *whole = json_parse(arena, slice_of(text, length), JSON_LAX, NULL);
        struct json_spans spans;
        struct slice value;
        bool all_parse = json_spans_begin(&spans, arena, slice_of(text, length), JSON_ARRAY);
        const struct json *part = whole ? whole->first : NULL;
        while (json_spans_next(&spans, NULL, &value)) {
            all_parse &= json_parse(arena, value, JSON_LAX, NULL) != NULL;
            if (whole)
                assert_ptr_equal(part->span.at, value.at);
            part = part ? part->next : NULL;
        }
        if ((whole != NULL) != (all_parse && !spans.error))
            fail_msg("%.*s", (int)length, text);
        good += whole != NULL;
        arena_destroy(&arena);
    }
    print_message("%zu texts were JSON\n", good);
    assert_true(good > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(counts),
        cmocka_unit_test(as_the_parser_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
