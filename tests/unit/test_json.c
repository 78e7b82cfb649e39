/* What the parser accepts and rejects, case by case, what it makes of it, and the look-ups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/json.h"

enum verdict {
    GOOD,     /* in both modes */
    BAD,      /* in neither */
    LAX_ONLY, /* acceptable only for room versions 1 to 5 and outside of events */
};

struct conformance {
    const char *name;
    struct slice text;
    enum verdict verdict;
    const char *error; /* of the canonical mode; NULL: any */
};

static const struct conformance cases[] = {
    {"object", SLICE("{\"a\":1,\"b\":[true,false,null,\"x\"]}"), GOOD, NULL},
    {"blanks", SLICE(" \t\r\n{ \"a\" : [ 1 , 2 ] } \n"), GOOD, NULL},
    {"empty key", SLICE("{\"\":1}"), GOOD, NULL},
    {"top-level string", SLICE("\"x\""), GOOD, NULL},
    {"top-level number", SLICE("7"), GOOD, NULL},
    {"empty text", SLICE(""), BAD, "value expected"},
    {"absent text", {NULL, 0}, BAD, "value expected"},
    {"only blanks", SLICE(" \n"), BAD, "value expected"},
    {"byte order mark", SLICE("\xef\xbb\xbf{}"), BAD, "unexpected character"},
    {"text after the value", SLICE("{} x"), BAD, "text after the value"},
    {"two values", SLICE("{}{}"), BAD, "text after the value"},
    {"NUL after the value", SLICE("{}\0"), BAD, "text after the value"},
    {"form feed is no blank", SLICE("\f{}"), BAD, NULL},
    {"comment", SLICE("/**/{}"), BAD, NULL},

    {"trailing comma in object", SLICE("{\"a\":1,}"), BAD, "key expected"},
    {"trailing comma in array", SLICE("[1,]"), BAD, "unexpected character"},
    {"missing comma", SLICE("[1 2]"), BAD, "comma or ] expected"},
    {"missing colon", SLICE("{\"a\" 1}"), BAD, "colon expected"},
    {"missing value", SLICE("{\"a\":}"), BAD, "unexpected character"},
    {"key without quotes", SLICE("{a:1}"), BAD, "key expected"},
    {"number as key", SLICE("{1:1}"), BAD, "key expected"},
    {"single quotes", SLICE("{'a':1}"), BAD, "key expected"},
    {"open object", SLICE("{"), BAD, NULL},
    {"open object after key", SLICE("{\"a\""), BAD, NULL},
    {"open object after colon", SLICE("{\"a\":"), BAD, "value expected"},
    {"open array", SLICE("[1,"), BAD, "value expected"},
    {"wrong bracket", SLICE("[1}"), BAD, "comma or ] expected"},
    {"stray bracket", SLICE("]"), BAD, NULL},
    {"cut word", SLICE("tru"), BAD, "unexpected character"},
    {"word with a tail", SLICE("truely"), BAD, "text after the value"},
    {"capital word", SLICE("True"), BAD, "unexpected character"},

    {"duplicate keys", SLICE("{\"a\":1,\"a\":2}"), BAD, "duplicate key"},
    {"duplicate keys apart", SLICE("{\"a\":1,\"b\":1,\"c\":1,\"a\":1}"), BAD, "duplicate key"},
    {"duplicate keys, one escaped", SLICE("{\"a\":1,\"\\u0061\":2}"), BAD, "duplicate key"},
    {"duplicate empty keys", SLICE("{\"\":1,\"\":2}"), BAD, "duplicate key"},
    {"duplicate keys inside", SLICE("[{\"x\":{\"a\":1,\"a\":2}}]"), BAD, "duplicate key"},
    {"same key in two objects", SLICE("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"), GOOD, NULL},
    {"keys that differ after NUL", SLICE("{\"a\\u0000b\":1,\"a\\u0000a\":2,\"a\":3}"), GOOD, NULL},

    {"zero", SLICE("0"), GOOD, NULL},
    {"2^53-1", SLICE("9007199254740991"), GOOD, NULL},
    {"-(2^53-1)", SLICE("-9007199254740991"), GOOD, NULL},
    {"2^53", SLICE("9007199254740992"), LAX_ONLY, "number out of range"},
    {"-2^53", SLICE("-9007199254740992"), LAX_ONLY, "number out of range"},
    {"2^63-1", SLICE("9223372036854775807"), LAX_ONLY, "number out of range"},
    {"-2^63", SLICE("-9223372036854775808"), LAX_ONLY, "number out of range"},
    {"2^63", SLICE("9223372036854775808"), BAD, "number out of range"},
    {"2^64", SLICE("18446744073709551616"), BAD, "number out of range"},
    {"100 digits", SLICE("1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"),
     BAD, "number out of range"},
    {"negative zero", SLICE("-0"), LAX_ONLY, "negative zero"},
    {"fraction", SLICE("1.5"), LAX_ONLY, "number is not an integer"},
    {"whole fraction", SLICE("1.0"), LAX_ONLY, "number is not an integer"},
    {"exponent", SLICE("1e3"), LAX_ONLY, "number is not an integer"},
    {"capital exponent with sign", SLICE("-1.5E+3"), LAX_ONLY, "number is not an integer"},
    {"digits beyond 64 bits in a real", SLICE("100000000000000000000.5"), LAX_ONLY, NULL},
    {"long real", SLICE("0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001"), LAX_ONLY,
     NULL},
    {"underflow", SLICE("1e-999"), LAX_ONLY, NULL},
    {"overflow", SLICE("1e999"), BAD, NULL},
    {"leading zero", SLICE("01"), BAD, "leading zero"},
    {"negative leading zero", SLICE("-01"), BAD, "leading zero"},
    {"two zeros", SLICE("00"), BAD, "leading zero"},
    {"leading zero of a fraction", SLICE("00.5"), BAD, "leading zero"},
    {"plus", SLICE("+1"), BAD, "unexpected character"},
    {"minus alone", SLICE("-"), BAD, "malformed number"},
    {"minus and letter", SLICE("-x"), BAD, "malformed number"},
    {"point first", SLICE(".5"), BAD, NULL},
    {"point last", SLICE("1."), BAD, NULL},
    {"exponent without digits", SLICE("1e"), BAD, NULL},
    {"exponent with sign alone", SLICE("1e+"), BAD, NULL},
    {"hexadecimal", SLICE("0x10"), BAD, NULL},
    {"NaN", SLICE("NaN"), BAD, "unexpected character"},
    {"Infinity", SLICE("Infinity"), BAD, "unexpected character"},
    {"-Infinity", SLICE("-Infinity"), BAD, "malformed number"},

    {"simple escapes", SLICE("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), GOOD, NULL},
    {"escaped NUL", SLICE("\"\\u0000\""), GOOD, NULL},
    {"escaped pair", SLICE("\"\\ud83d\\ude00\""), GOOD, NULL},
    {"escaped pair, capitals", SLICE("\"\\uD83D\\uDE00\""), GOOD, NULL},
    {"lone high surrogate", SLICE("\"\\ud83d\""), BAD, "lone surrogate"},
    {"lone low surrogate", SLICE("\"\\ude00\""), BAD, "lone surrogate"},
    {"high surrogate and letter", SLICE("\"\\ud83dx\\ude00\""), BAD, "lone surrogate"},
    {"two high surrogates", SLICE("\"\\ud83d\\ud83d\""), BAD, "lone surrogate"},
    {"surrogates in the wrong order", SLICE("\"\\ude00\\ud83d\""), BAD, "lone surrogate"},
    {"high surrogate and cut escape", SLICE("\"\\ud83d\\u00"), BAD, "lone surrogate"},
    {"lone surrogate in a key", SLICE("{\"\\udc00\":1}"), BAD, "lone surrogate"},
    {"unknown escape", SLICE("\"\\x41\""), BAD, "malformed escape"},
    {"capital U", SLICE("\"\\U0041\""), BAD, "malformed escape"},
    {"escaped NUL byte", SLICE("\"\\\0\""), BAD, "malformed escape"},
    {"escape with three digits", SLICE("\"\\u041\""), BAD, "malformed escape"},
    {"escape with a sign", SLICE("\"\\u+041\""), BAD, "malformed escape"},
    {"escape at the end", SLICE("\"\\"), BAD, "unterminated string"},
    {"cut escape", SLICE("\"\\u00"), BAD, "malformed escape"},
    {"unterminated", SLICE("\"abc"), BAD, "unterminated string"},
    {"unterminated after escape", SLICE("\"\\n abcdefghi"), BAD, "unterminated string"},
    {"unterminated, escaped quote", SLICE("\"abc\\\""), BAD, "unterminated string"},
    {"raw newline", SLICE("\"a\nb\""), BAD, "control character in string"},
    {"raw NUL", SLICE("\"a\0b\""), BAD, "control character in string"},
    {"raw control after escape", SLICE("\"\\n\x1f\""), BAD, "control character in string"},
    {"delete is no control here", SLICE("\"\x7f\""), GOOD, NULL},

    {"UTF-8 of all lengths", SLICE("\"\x24\xc2\xa2\xe2\x82\xac\xf0\x9f\x98\x80\""), GOOD, NULL},
    {"last code point", SLICE("\"\xf4\x8f\xbf\xbf\""), GOOD, NULL},
    {"noncharacter", SLICE("\"\xef\xbf\xbf\""), GOOD, NULL},
    {"lone continuation byte", SLICE("\"\x80\""), BAD, "malformed UTF-8"},
    {"byte 0xff", SLICE("\"\xff\""), BAD, "malformed UTF-8"},
    {"cut sequence", SLICE("\"\xe2\x82\""), BAD, "malformed UTF-8"},
    {"sequence cut by the end", SLICE("\"\xe2\x82"), BAD, "malformed UTF-8"},
    {"overlong slash", SLICE("\"\xc0\xaf\""), BAD, "malformed UTF-8"},
    {"overlong NUL", SLICE("\"\xc0\x80\""), BAD, "malformed UTF-8"},
    {"overlong in three bytes", SLICE("\"\xe0\x80\xaf\""), BAD, "malformed UTF-8"},
    {"surrogate as UTF-8", SLICE("\"\xed\xa0\x80\""), BAD, "malformed UTF-8"},
    {"beyond the last code point", SLICE("\"\xf4\x90\x80\x80\""), BAD, "malformed UTF-8"},
    {"malformed in the second word", SLICE("\"12345678\xc3(\""), BAD, "malformed UTF-8"},
    {"malformed after escape", SLICE("\"\\n\xc3(\""), BAD, "malformed UTF-8"},
    {"malformed in a key", SLICE("{\"\xff\":1}"), BAD, "malformed UTF-8"},
    {"UTF-8 outside of a string", SLICE("\xc3\xa4"), BAD, "unexpected character"},
};

static struct arena *arena;

static int setup(void **state)
{
    arena = arena_create(64 << 20);
    return 0;
}

static int teardown(void **state)
{
    arena_destroy(&arena);
    return 0;
}

/* A copy without anything behind it, so that AddressSanitizer sees a read too far. */
static struct slice exact_copy(struct slice text)
{
    char *copy = arena_alloc_raw(arena, text.len);
    if (text.len)
        memcpy(copy, text.at, text.len);
    return slice_of(copy, text.len);
}

static void conformance_table(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct conformance *c = &cases[i];
        const char *lax_error = NULL, *error = NULL;
        bool lax = json_parse(arena, exact_copy(c->text), JSON_LAX, &lax_error);
        bool canonical = json_parse(arena, exact_copy(c->text), JSON_CANONICAL, &error);
        if (lax != (c->verdict != BAD) || canonical != (c->verdict == GOOD))
            fail_msg("%s: lax %s, canonical %s", c->name, lax ? "accepted" : lax_error, canonical ? "accepted" : error);
        if (c->error && (!error || strcmp(c->error, error) != 0))
            fail_msg("%s: said \"%s\"", c->name, error ? error : "");
        assert_int_equal(lax, lax_error == NULL);
    }
}

/* Whatever is cut off a document, or changed in it by a byte, nothing is read beyond its end. */
static void every_prefix_is_handled(void **state)
{
    struct slice whole = SLICE("{\"a\":[1,-2,3.5e1,true,false,null],\"\\u00e4\\ud83d\\ude00\":\"\xc3\xa4 and \\n more text\"}");
    assert_non_null(json_parse(arena, whole, JSON_LAX, NULL));
    for (size_t length = 0; length < whole.len; length++)
        assert_null(json_parse(arena, exact_copy(slice_sub(whole, 0, length)), JSON_LAX, NULL));
}

static struct slice nested(unsigned depth, bool closed)
{
    struct strbuf out = strbuf_in(arena);
    for (unsigned i = 0; i < depth; i++)
        strbuf_add_cstr(&out, i % 2 ? "{\"a\":" : "[");
    strbuf_add_cstr(&out, "1");
    for (unsigned i = depth; closed && i-- > 0;)
        strbuf_add_char(&out, i % 2 ? '}' : ']');
    return strbuf_slice(&out);
}

static void depth_is_limited(void **state)
{
    const char *error = NULL;
    assert_non_null(json_parse(arena, nested(JSON_DEPTH_MAX, true), JSON_CANONICAL, NULL));
    assert_null(json_parse(arena, nested(JSON_DEPTH_MAX + 1, true), JSON_CANONICAL, &error));
    assert_string_equal(error, "nested too deeply");
    assert_null(json_parse(arena, nested(1000000, false), JSON_LAX, &error));
    assert_string_equal(error, "nested too deeply");
    assert_non_null(json_parse(arena, SLICE("[[[]],[[]],{\"a\":[]}]"), JSON_LAX, NULL));
}

static void values_and_spans(void **state)
{
    struct slice text =
        SLICE(" { \"n\" : -12 , \"s\":\"plain\",\"e\":\"a\\n\\u0000b\",\"r\":-2.5e1, \"l\":[ 1, {} ],\"t\":true,\"z\":null} ");
    const struct json *object = json_parse(arena, text, JSON_LAX, NULL);
    assert_non_null(object);
    assert_int_equal(object->count, 7);
    assert_true(slice_eq(object->span, slice_trim(text)));
    const struct json *n = json_get_cstr(object, "n"), *s = json_get_cstr(object, "s"), *e = json_get_cstr(object, "e");
    const struct json *r = json_get_cstr(object, "r"), *l = json_get_cstr(object, "l");
    assert_int_equal(n->integer, -12);
    assert_true(n->real == -12.0);
    assert_true(slice_eq(n->span, SLICE("-12")));
    assert_ptr_equal(s->text.at, s->span.at + 1); /* borrowed */
    assert_true(slice_eq(s->span, SLICE("\"plain\"")));
    assert_true(slice_eq(e->text, SLICE("a\n\0b")));
    assert_true(slice_has_nul(e->text));
    assert_true(slice_eq(e->span, SLICE("\"a\\n\\u0000b\"")));
    assert_int_equal(r->type, JSON_REAL);
    assert_int_equal(r->integer, -25);
    assert_true(r->real == -25.0);
    assert_int_equal(l->count, 2);
    assert_true(slice_eq(l->span, SLICE("[ 1, {} ]")));
    assert_true(slice_eq(l->first->next->span, SLICE("{}")));
    assert_true(s->tidy && n->tidy && !e->tidy && !l->tidy && l->first->next->tidy && !object->tidy);
    static const struct {
        const char *text;
        int64_t integer;
    } reals[] = {{"1e18", INT64_C(1000000000000000000)},
                 {"1e19", 0},
                 {"-9223372036854775808.0", INT64_MIN},
                 {"-1.9", -1},
                 {"9223372036854775808.0", 0}};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++)
        assert_int_equal(json_parse(arena, slice_from_cstr(reals[i].text), JSON_LAX, NULL)->integer, reals[i].integer);
}

static void look_ups(void **state)
{
    const struct json *event =
        json_parse(arena, SLICE("{\"type\":\"m\",\"content\":{\"membership\":\"join\",\"n\":7,\"b\":true,\"l\":[1,2,3]}}"),
                   JSON_CANONICAL, NULL);
    assert_true(slice_eq(json_string(json_path(event, "content.membership")), SLICE("join")));
    assert_true(slice_eq(json_string(json_path(event, "type")), SLICE("m")));
    assert_null(json_path(event, "type.x"));
    assert_null(json_path(event, "content.nothing.x"));
    assert_null(json_path(NULL, "a.b"));
    assert_true(slice_is_absent(json_get_string(event, "content")));
    assert_true(slice_is_absent(json_get_string(event, "nothing")));
    assert_true(slice_is_absent(json_get_string(NULL, "x")));
    const struct json *content = json_get_object(event, "content");
    int64_t n = 1;
    assert_false(json_get_i64(content, "membership", &n));
    assert_int_equal(n, 1);
    assert_true(json_get_i64(content, "n", &n));
    assert_int_equal(n, 7);
    assert_true(json_get_bool(content, "b", false));
    assert_true(json_get_bool(content, "n", true));
    assert_null(json_get_array(event, "content"));
    assert_null(json_get_object(content, "l"));
    const struct json *list = json_get_array(content, "l");
    int64_t sum = 0;
    json_each (item, list)
        sum += item->integer;
    assert_int_equal(sum, 6);
    json_each (item, json_get_array(content, "nothing"))
        fail();
    assert_null(json_get_cstr(list, "0"));
    assert_true(json_is(list, JSON_ARRAY));
    assert_false(json_is(NULL, JSON_NULL));
}

static struct slice big_object(int members, int step, const char *last)
{
    struct strbuf out = strbuf_in(arena);
    for (int i = 0; i < members; i++)
        strbuf_printf(&out, "%c\"ey%d\":%d", i ? ',' : '{', (int)((int64_t)i * step % members), i);
    strbuf_add_cstr(&out, last);
    return strbuf_slice(&out);
}

/* 65,536 members, ordered or not: a quadratic parser would need minutes here, and the test's time limit would end it. */
static void large_objects_are_not_quadratic(void **state)
{
    const char *error = NULL;
    for (int step = 1; step < 40000; step += 12345 * 2) {
        const struct json *object = json_parse(arena, big_object(65536, step, "}"), JSON_CANONICAL, &error);
        if (!object)
            fail_msg("%s", error);
        assert_int_equal(object->count, 65536);
        assert_null(json_parse(arena, big_object(65536, step, ",\"ey77\":1}"), JSON_CANONICAL, &error));
        assert_string_equal(error, "duplicate key");
        arena_reset(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conformance_table), cmocka_unit_test(every_prefix_is_handled),
        cmocka_unit_test(depth_is_limited),  cmocka_unit_test(values_and_spans),
        cmocka_unit_test(look_ups),          cmocka_unit_test(large_objects_are_not_quadratic),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
