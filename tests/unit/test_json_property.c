/* Properties over random documents: what is written parses; canonical JSON is a fixed point, does not depend on the
 * spelling it came from, and is what the naive writer makes. MYELIN_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "test_json_naive.h"
#include "test_json_random.h"

enum { DOCUMENTS = 3000 };

static struct slice canonical_of(struct arena *arena, struct slice text, enum json_mode mode)
{
    const char *error = "";
    const struct json *value = json_parse(arena, text, mode, &error);
    if (!value)
        fail_msg("%s: %.*s", error, PRI(text));
    return json_canonical(arena, value, NULL);
}

static void canonical_is_a_fixed_point(void **state)
{
    struct random r = random_start();
    for (int i = 0; i < DOCUMENTS; i++) {
        struct arena *arena = arena_create(64 << 20);
        struct slice written = random_document(arena, &r);
        const struct json *value = json_parse(arena, written, JSON_CANONICAL, NULL);
        assert_non_null(value);
        struct strbuf naive = strbuf_in(arena), other = strbuf_in(arena);
        naive_canonical(&naive, value);
        struct slice canonical = json_canonical(arena, value, NULL);
        if (!slice_eq(canonical, strbuf_slice(&naive)))
            fail_msg("%.*s became %.*s", PRI(written), PRI(canonical));
        assert_true(json_parse(arena, canonical, JSON_CANONICAL, NULL)->tidy ||
                    memchr(canonical.at, '\\', canonical.len)); /* only escapes keep it from being copied */
        assert_true(slice_eq(canonical_of(arena, canonical, JSON_CANONICAL), canonical));
        respell(&other, value, &r);
        struct slice spelled = strbuf_slice(&other);
        if (!slice_eq(canonical_of(arena, spelled, JSON_CANONICAL), canonical))
            fail_msg("%.*s did not become %.*s", PRI(spelled), PRI(canonical));
        arena_destroy(&arena);
    }
}

static void check_spans(struct arena *arena, const struct json *value, struct slice parent)
{
    assert_true(value->span.at >= parent.at && value->span.at + value->span.len <= parent.at + parent.len);
    const struct json *alone = json_parse(arena, value->span, JSON_LAX, NULL);
    assert_non_null(alone);
    assert_int_equal(alone->type, value->type);
    assert_int_equal(alone->count, value->count);
    assert_true(slice_eq(alone->text, value->text));
    uint32_t count = 0;
    json_each (child, value) {
        check_spans(arena, child, value->span);
        count++;
    }
    assert_int_equal(count, value->count);
}

static void every_span_is_its_value(void **state)
{
    struct random r = random_start();
    r.reals = true;
    for (int i = 0; i < DOCUMENTS / 10; i++) {
        struct arena *arena = arena_create(256 << 20);
        struct strbuf other = strbuf_in(arena);
        respell(&other, json_parse(arena, random_document(arena, &r), JSON_LAX, NULL), &r);
        struct slice text = strbuf_slice(&other);
        const struct json *value = json_parse(arena, text, JSON_LAX, NULL);
        assert_non_null(value);
        check_spans(arena, value, text);
        struct slice canonical = json_canonical(arena, value, NULL);
        assert_true(slice_eq(canonical_of(arena, canonical, JSON_LAX), canonical));
        arena_destroy(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_is_a_fixed_point),
        cmocka_unit_test(every_span_is_its_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
