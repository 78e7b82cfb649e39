/* Slices, string buffers, base64, hex and UTF-8: tables of cases with names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "lib/base/json.h"
#include "lib/base/strbuf.h"

#define assert_slice(actual, expected) assert_slice_is((actual), (expected), __FILE__, __LINE__)

static void assert_slice_is(struct slice actual, struct slice expected, const char *file, int line)
{
    if (slice_eq(actual, expected) && slice_is_absent(actual) == slice_is_absent(expected))
        return;
    print_error("%s:%d: got \"%.*s\", want \"%.*s\"\n", file, line, PRI(actual), PRI(expected));
    fail();
}

static void cutting(void **state)
{
    struct slice head = SLICE("kept"), tail = SLICE("kept");
    assert_false(slice_cut(SLICE("no mark"), ':', &head, &tail));
    assert_false(slice_cut(SLICE_ABSENT, ':', &head, &tail));
    assert_slice(head, SLICE("kept"));
    assert_slice(tail, SLICE("kept"));
    assert_true(slice_cut(SLICE("@a:b:8448"), ':', &head, &tail));
    assert_slice(head, SLICE("@a"));
    assert_slice(tail, SLICE("b:8448"));
    assert_true(slice_cut(tail, ':', &head, &tail)); /* in place */
    assert_slice(head, SLICE("b"));
    assert_slice(tail, SLICE("8448"));
    assert_true(slice_cut(SLICE(":"), ':', &head, &tail));
    assert_slice(head, SLICE(""));
    assert_slice(tail, SLICE(""));
    assert_slice(slice_sub(SLICE("abc"), 1, 99), SLICE("bc"));
    assert_slice(slice_sub(SLICE("abc"), 7, 1), SLICE(""));
    assert_slice(slice_trim(SLICE(" \t\r\n a b \n")), SLICE("a b"));
    assert_slice(slice_trim(SLICE("  ")), SLICE(""));
    assert_slice(slice_trim(SLICE_ABSENT), SLICE_ABSENT);
}

static void comparing(void **state)
{
    assert_true(slice_cmp(SLICE("a"), SLICE("b")) < 0);
    assert_true(slice_cmp(SLICE("a"), SLICE("a\0")) < 0);
    assert_true(slice_cmp(SLICE("\x7f"), SLICE("\xc3\xa4")) < 0); /* bytes are unsigned */
    assert_int_equal(slice_cmp(SLICE(""), SLICE_ABSENT), 0);
    assert_true(slice_eq(SLICE(""), SLICE_ABSENT));
    assert_true(slice_eq_ignoring_case(SLICE("Content-TYPE"), SLICE("content-type")));
    assert_false(slice_eq_ignoring_case(SLICE("a["), SLICE("a{")));
    assert_false(slice_eq_ignoring_case(SLICE("\xc3\x84"), SLICE("\xc3\xa4"))); /* ASCII only */
    assert_true(slice_starts_with(SLICE("abc"), SLICE("ab")));
    assert_false(slice_starts_with(SLICE("ab"), SLICE("abc")));
    assert_true(slice_ends_with(SLICE("abc"), SLICE("bc")));
    assert_true(slice_ends_with(SLICE("abc"), SLICE_ABSENT));
    assert_true(slice_has_nul(SLICE("a\0b")));
    assert_false(slice_has_nul(SLICE("ab")));
    assert_false(slice_has_nul(SLICE_ABSENT));
}

static void hashing(void **state)
{
    /* Fixed for ever: workers of different versions must agree on lanes. */
    assert_true(slice_hash(SLICE("")) == UINT64_C(0xefd01f60ba992926));
    assert_true(slice_hash(SLICE_ABSENT) == slice_hash(SLICE("")));
    assert_true(slice_hash(SLICE("!room:example.org")) != slice_hash(SLICE("!rooM:example.org")));
    assert_true(slice_hash(SLICE("a")) == UINT64_C(0x82a2a958a9bece5b));
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        bool good;
        int64_t number;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"007", true, 7},
        {"-12", true, -12},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1a", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t number = 4711;
        bool good = slice_to_i64(slice_from_cstr(cases[i].text), &number);
        if (good != cases[i].good || number != (good ? cases[i].number : 4711))
            fail_msg("\"%s\" gave %d, %lld", cases[i].text, good, (long long)number);
    }
}

static void buffers(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    struct strbuf buffer = strbuf_in(arena);
    assert_slice(strbuf_slice(&buffer), SLICE("")); /* empty, not absent */
    strbuf_add(&buffer, SLICE_ABSENT);
    strbuf_add_cstr(&buffer, "a");
    strbuf_add_char(&buffer, 'b');
    strbuf_add_i64(&buffer, INT64_MIN);
    strbuf_add_i64(&buffer, 0);
    strbuf_printf(&buffer, "[%s]", "");
    assert_slice(strbuf_slice(&buffer), SLICE("ab-92233720368547758080[]"));

    buffer = strbuf_in(arena);
    for (int i = 0; i < 1000; i++) {
        strbuf_printf(&buffer, "%d,", i);
        if (i % 100 == 0)
            arena_alloc(arena, 1); /* so that it has to move now and then */
    }
    struct slice text = strbuf_slice(&buffer);
    assert_int_equal(text.len, 3890);
    assert_true(slice_starts_with(text, SLICE("0,1,2,")));
    assert_true(slice_ends_with(text, SLICE(",997,998,999,")));
    arena_destroy(&arena);
}

static void base64(void **state)
{
    static const struct {
        struct slice bytes, text;
    } vectors[] = {
        /* Spec appendices, "Unpadded Base64"; the first three are RFC 4648's. */
        {{"", 0}, {"", 0}},
        {{"f", 1}, {"Zg", 2}},
        {{"fo", 2}, {"Zm8", 3}},
        {{"foo", 3}, {"Zm9v", 4}},
        {{"foob", 4}, {"Zm9vYg", 6}},
        {{"fooba", 5}, {"Zm9vYmE", 7}},
        {{"foobar", 6}, {"Zm9vYmFy", 8}},
        {{"\xff\xef\xfe", 3}, {"/+/+", 4}},
    };
    struct arena *arena = arena_create(1 << 20);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        assert_slice(base64_encode(arena, vectors[i].bytes), vectors[i].text);
        assert_slice(base64_decode(arena, vectors[i].text), vectors[i].bytes);
    }
    assert_slice(base64_encode_url(arena, SLICE("\xff\xef\xfe")), SLICE("_-_-"));
    assert_slice(base64_decode(arena, SLICE("_-_-")), SLICE("\xff\xef\xfe"));
    assert_slice(base64_decode(arena, SLICE("Zg==")), SLICE("f"));
    assert_slice(base64_decode(arena, SLICE("Zm8=")), SLICE("fo"));
    static const char *const bad[] = {
        "A", "AAAAA", "Zg=", "Zg===", "=", "====", "Z===", "Zm9v=", "Zm 9v", "Zm9v\n", "Zm=v", "Z\xc3\xa4=="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!slice_is_absent(base64_decode(arena, slice_from_cstr(bad[i]))))
            fail_msg("accepted \"%s\"", bad[i]);
    assert_slice(base64_decode(arena, SLICE("A\0==")), SLICE_ABSENT);
    assert_slice(base64_decode(arena, SLICE_ABSENT), SLICE_ABSENT);
    unsigned char bytes[256];
    for (size_t length = 0; length <= sizeof bytes; length++) {
        for (size_t i = 0; i < length; i++)
            bytes[i] = (unsigned char)(i * 167 + length);
        struct slice all = slice_of(bytes, length);
        assert_slice(base64_decode(arena, base64_encode(arena, all)), all);
        assert_slice(base64_decode(arena, base64_encode_url(arena, all)), all);
    }
    assert_slice(hex_encode(arena, SLICE("\x00\x9f\xff")), SLICE("009fff"));
    assert_slice(hex_encode(arena, SLICE("")), SLICE(""));
    arena_destroy(&arena);
}

/* Every two-byte pair, and the borders of the longer forms, against the definition: what encodes a scalar value is valid. */
static void utf8(void **state)
{
    static const struct {
        struct slice text;
        bool good;
    } cases[] = {
        {SLICE(""), true},
        {SLICE("plain ASCII, longer than a word"), true},
        {SLICE("\x7f\0"), true},
        {SLICE("1234567\xc3\xa4"), true}, /* across the word's border */
        {SLICE("\xc2\x80"), true},
        {SLICE("\xc0\x80"), false},
        {SLICE("\xc1\xbf"), false},
        {SLICE("\xdf\xbf"), true},
        {SLICE("\xe0\x9f\xbf"), false},
        {SLICE("\xe0\xa0\x80"), true},
        {SLICE("\xed\x9f\xbf"), true},
        {SLICE("\xed\xa0\x80"), false}, /* U+D800 */
        {SLICE("\xed\xbf\xbf"), false},
        {SLICE("\xee\x80\x80"), true},
        {SLICE("\xef\xbf\xbf"), true}, /* a noncharacter is a scalar value */
        {SLICE("\xf0\x8f\xbf\xbf"), false},
        {SLICE("\xf0\x90\x80\x80"), true},
        {SLICE("\xf4\x8f\xbf\xbf"), true},
        {SLICE("\xf4\x90\x80\x80"), false},
        {SLICE("\xf5\x80\x80\x80"), false},
        {SLICE("\xe2\x82"), false},
        {SLICE("\xf0\x9f\x98"), false},
        {SLICE("\x80"), false},
        {SLICE("12345678\xff"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (utf8_is_valid(cases[i].text) != cases[i].good)
            fail_msg("case %zu", i);
    assert_true(utf8_is_valid(SLICE_ABSENT));
}

static void clocks(void **state)
{
    int64_t before = clock_monotonic_us();
    assert_true(clock_monotonic_us() >= before);
    assert_true(clock_monotonic_ms() >= before / 1000);
    assert_true(clock_wall_ms() > INT64_C(1700000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutting), cmocka_unit_test(comparing), cmocka_unit_test(hashing), cmocka_unit_test(numbers),
        cmocka_unit_test(buffers), cmocka_unit_test(base64),    cmocka_unit_test(utf8),    cmocka_unit_test(clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
