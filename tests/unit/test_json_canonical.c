/* Canonical JSON: the vectors of the spec's appendix, the escapes, and what may be left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/json.h"

struct vector {
    const char *name;
    struct slice source, canonical;
    enum json_mode mode;
};

static const struct vector vectors[] = {
    {"appendix: empty", SLICE("{}"), SLICE("{}"), JSON_CANONICAL},
    {"appendix: one, two", SLICE("{\n    \"one\": 1,\n    \"two\": \"Two\"\n}"), SLICE("{\"one\":1,\"two\":\"Two\"}"),
     JSON_CANONICAL},
    {"appendix: b, a", SLICE("{\n    \"b\": \"2\",\n    \"a\": \"1\"\n}"), SLICE("{\"a\":\"1\",\"b\":\"2\"}"), JSON_CANONICAL},
    {"appendix: b, a without blanks", SLICE("{\"b\":\"2\",\"a\":\"1\"}"), SLICE("{\"a\":\"1\",\"b\":\"2\"}"), JSON_CANONICAL},
    {"appendix: nested",
     SLICE("{\"auth\": {\"success\": true, \"mxid\": \"@john.doe:example.com\", \"profile\": {\"display_name\": \"John Doe\", "
           "\"three_pids\": [{\"medium\": \"email\", \"address\": \"john.doe@example.org\"}, {\"medium\": \"msisdn\", "
           "\"address\": \"123456789\"}]}}}"),
     SLICE("{\"auth\":{\"mxid\":\"@john.doe:example.com\",\"profile\":{\"display_name\":\"John Doe\",\"three_pids\":[{\"address\":"
           "\"john.doe@example.org\",\"medium\":\"email\"},{\"address\":\"123456789\",\"medium\":\"msisdn\"}]},\"success\":true}}"),
     JSON_CANONICAL},
    {"appendix: Japanese", SLICE("{\"a\": \"日本語\"}"), SLICE("{\"a\":\"日本語\"}"), JSON_CANONICAL},
    {"appendix: Japanese keys", SLICE("{\"本\": 2, \"日\": 1}"), SLICE("{\"日\":1,\"本\":2}"), JSON_CANONICAL},
    {"appendix: escaped", SLICE("{\"a\": \"\\u65E5\"}"), SLICE("{\"a\":\"日\"}"), JSON_CANONICAL},
    {"appendix: null", SLICE("{\"a\": null}"), SLICE("{\"a\":null}"), JSON_CANONICAL},
    {"appendix: -0 and 1e10", SLICE("{\"a\": -0, \"b\": 1e10}"), SLICE("{\"a\":0,\"b\":10000000000}"), JSON_LAX},

    {"all controls",
     SLICE("\"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\u0008\\u0009\\u000A\\u000B\\u000C\\u000D\\u000E\\u000F"
           "\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001A\\u001B\\u001C\\u001D\\u001E\\u001F\\u007F"
           "\""),
     SLICE(
         "\"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f"
         "\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f\x7f\""),
     JSON_CANONICAL},
    {"quote, backslash, slash", SLICE("\"\\u0022\\u005c\\u002f\\/\""), SLICE("\"\\\"\\\\//\""), JSON_CANONICAL},
    {"escapes in keys", SLICE("{\"\\u000a\\/\":1,\"\\t\":2}"), SLICE("{\"\\t\":2,\"\\n/\":1}"), JSON_CANONICAL},
    {"pair", SLICE("\"\\ud83d\\ude00\""), SLICE("\"\xf0\x9f\x98\x80\""), JSON_CANONICAL},
    /* UTF-16 order would put U+1F600 (d83d de00) before U+FF61; code points say otherwise. */
    {"order by code point, not by UTF-16", SLICE("{\"\\ud83d\\ude00\":1,\"\\uff61\":2}"),
     SLICE("{\"\xef\xbd\xa1\":2,\"\xf0\x9f\x98\x80\":1}"), JSON_CANONICAL},
    {"prefixes first", SLICE("{\"abcdefghi\":1,\"abcdefgh\":2,\"\":3,\"a\\u0000\":4,\"a\":5}"),
     SLICE("{\"\":3,\"a\":5,\"a\\u0000\":4,\"abcdefgh\":2,\"abcdefghi\":1}"), JSON_CANONICAL},
    {"capitals before small letters", SLICE("{\"a\":1,\"B\":2,\"_\":3}"), SLICE("{\"B\":2,\"_\":3,\"a\":1}"), JSON_CANONICAL},
    {"order in arrays stays", SLICE("[ {\"b\":1,\"a\":2} , 3, 1 ]"), SLICE("[{\"a\":2,\"b\":1},3,1]"), JSON_CANONICAL},
    {"top-level string", SLICE(" \"x\" "), SLICE("\"x\""), JSON_CANONICAL},
    {"floats stand as they are", SLICE("[1.0, 1.50, -0.0, 1e-3, 1e300, 9007199254740993]"),
     SLICE("[1.0,1.50,-0.0,1e-3,1e300,9007199254740993]"), JSON_LAX},
    {"whole floats with exponent", SLICE("[1E2, 1.5e1, -2.0e0, 9007199254740991e0, 9007199254740992e0]"),
     SLICE("[100,15,-2,9007199254740991,9007199254740992e0]"), JSON_LAX},
};

static void appendix_and_more(void **state)
{
    struct arena *arena = arena_create(16 << 20);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *v = &vectors[i];
        const char *error = "";
        const struct json *value = json_parse(arena, v->source, v->mode, &error);
        if (!value)
            fail_msg("%s: %s", v->name, error);
        struct slice canonical = json_canonical(arena, value, NULL);
        if (!slice_eq(canonical, v->canonical))
            fail_msg("%s: %.*s", v->name, PRI(canonical));
        const struct json *again = json_parse(arena, canonical, v->mode, NULL);
        assert_non_null(again);
        assert_true(slice_eq(json_canonical(arena, again, NULL), canonical));
    }
    arena_destroy(&arena);
}

static void leaving_out(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    static const char *const without[] = {"signatures", "unsigned", NULL};
    static const char *const nothing[] = {NULL};
    static const struct {
        const char *name;
        struct slice source, canonical;
    } rows[] = {
        {"in order", SLICE("{\"a\":1,\"signatures\":{},\"unsigned\":{\"age\":1}}"), SLICE("{\"a\":1}")},
        {"first", SLICE("{\"signatures\":{},\"z\":{\"signatures\":1}}"), SLICE("{\"z\":{\"signatures\":1}}")},
        {"out of order", SLICE("{\"unsigned\":1,\"b\":1,\"a\":1,\"signatures\":{}}"), SLICE("{\"a\":1,\"b\":1}")},
        {"all", SLICE("{\"unsigned\":1}"), SLICE("{}")},
        {"escaped name", SLICE("{\"\\u0075nsigned\":1,\"v\":1}"), SLICE("{\"v\":1}")},
        {"none", SLICE("{\"a\":1}"), SLICE("{\"a\":1}")},
        {"an array has no keys", SLICE("[\"unsigned\"]"), SLICE("[\"unsigned\"]")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct json *value = json_parse(arena, rows[i].source, JSON_CANONICAL, NULL);
        struct slice canonical = json_canonical(arena, value, without);
        if (!slice_eq(canonical, rows[i].canonical))
            fail_msg("%s: %.*s", rows[i].name, PRI(canonical));
        assert_true(slice_eq(json_canonical(arena, value, nothing), json_canonical(arena, value, NULL)));
    }
    struct strbuf out = strbuf_in(arena);
    strbuf_add_cstr(&out, "before");
    json_canonical_into(&out, json_parse(arena, rows[0].source, JSON_CANONICAL, NULL), without);
    assert_true(slice_eq(strbuf_slice(&out), SLICE("before{\"a\":1}")));
    arena_destroy(&arena);
}

/* A tree made by hand or changed by hand, as long as it is not marked tidy. */
static void hand_made_trees(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    struct json truth = {.type = JSON_BOOL, .boolean = true, .key = SLICE("b")};
    struct json number = {.type = JSON_INT, .integer = -5, .key = SLICE("c"), .next = &truth};
    struct json text = {.type = JSON_STRING, .text = SLICE("x\n"), .key = SLICE("a"), .next = &number};
    struct json object = {.type = JSON_OBJECT, .count = 3, .first = &text};
    assert_true(slice_eq(json_canonical(arena, &object, NULL), SLICE("{\"a\":\"x\\n\",\"b\":true,\"c\":-5}")));
    struct json changed = *json_parse(arena, SLICE("{\"a\":1,\"b\":2}"), JSON_CANONICAL, NULL);
    assert_true(changed.tidy);
    changed.tidy = false;
    changed.first = changed.first->next;
    changed.count = 1;
    assert_true(slice_eq(json_canonical(arena, &changed, NULL), SLICE("{\"b\":2}")));
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appendix_and_more),
        cmocka_unit_test(leaving_out),
        cmocka_unit_test(hand_made_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
