/* Filters, default push rules and keys: what is JSON on both sides (workers/accounts/filter_check.c, push_defaults.c, key_merge.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "workers/accounts/filter_check.c"
#include "workers/accounts/key_merge.c"
#include "workers/accounts/push_defaults.c"

static struct arena *arena;

static int start(void **state)
{
    arena = arena_create(4 * 1024 * 1024);
    return 0;
}

static int finish(void **state)
{
    arena_destroy(&arena);
    return 0;
}

static const struct json *parse(const char *text)
{
    const struct json *json = json_parse(arena, slice_from_cstr(text), JSON_LAX, NULL);
    assert_non_null(json);
    return json;
}

static void filters(void **state)
{
    static const struct {
        const char *filter;
        bool good;
    } cases[] = {
        {"{}", true},
        {"{\"unknown\":1}", true},
        {"{\"event_fields\":[\"a\"],\"event_format\":\"federation\",\"presence\":{\"types\":[]},\"account_data\":null}", true},
        {"{\"room\":{\"rooms\":[\"!a:b\"],\"include_leave\":true,\"timeline\":{\"limit\":5,\"lazy_load_members\":true}}}", true},
        {"{\"event_format\":\"xml\"}", false},
        {"{\"event_fields\":\"a\"}", false},
        {"{\"event_fields\":[1]}", false},
        {"{\"presence\":[]}", false},
        {"{\"room\":[]}", false},
        {"{\"room\":{\"not_rooms\":[1]}}", false},
        {"{\"room\":{\"include_leave\":\"yes\"}}", false},
        {"{\"room\":{\"state\":{\"limit\":-1}}}", false},
        {"{\"room\":{\"ephemeral\":{\"senders\":{}}}}", false},
        {"{\"room\":{\"account_data\":5}}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(filter_problem(parse(cases[i].filter)) == NULL, cases[i].good);
}

static void push_rules(void **state)
{
    struct slice user = SLICE("@a\"b:hs1"); /* what needs escaping */
    const struct json *global = json_get_object(json_parse(arena, push_defaults(arena, user), JSON_CANONICAL, NULL), "global");
    assert_non_null(global);
    assert_int_equal(json_get_array(global, "override")->count, 10);
    assert_int_equal(json_get_array(global, "underride")->count, 5);
    const struct json *rule = json_get_array(global, "override")->first;
    assert_true(slice_eq(json_get_string(rule, "rule_id"), SLICE(".m.rule.master")));
    assert_false(json_get_bool(rule, "enabled", true));
    for (; rule; rule = rule->next) {
        const struct json *conditions = json_get_array(rule, "conditions");
        assert_true(json_get_bool(rule, "default", false));
        assert_non_null(json_get_array(rule, "actions"));
        if (slice_eq(json_get_string(rule, "rule_id"), SLICE(".m.rule.is_user_mention"))) {
            assert_true(slice_eq(json_get_string(conditions->first, "value"), user));
            assert_true(slice_eq(json_get_string(conditions->first, "key"), SLICE("content.m\\.mentions.user_ids")));
        }
    }
}

static void merging(void **state)
{
    struct key_signature second = {SLICE("@b:c"), SLICE("ed25519:K"), SLICE("sig2"), NULL};
    struct key_signature third = {SLICE("@a:b"), SLICE("ed25519:D"), SLICE("other"), &second}; /* the object's own stays */
    struct key_signature first = {SLICE("@a:b"), SLICE("ed25519:S"), SLICE("sig1"), &third};
    struct slice keys = SLICE("{\"keys\":{},\"signatures\":{\"@a:b\":{\"ed25519:D\":\"own\"}},\"unsigned\":{\"x\":1}}");
    assert_true(slice_eq(
        key_merge(arena, keys, &first, SLICE("phone")),
        SLICE("{\"keys\":{},\"signatures\":{\"@a:b\":{\"ed25519:D\":\"own\",\"ed25519:S\":\"sig1\"},\"@b:c\":{\"ed25519:K\":"
              "\"sig2\"}},\"unsigned\":{\"device_display_name\":\"phone\"}}")));
    assert_true(slice_eq(key_merge(arena, keys, NULL, SLICE_ABSENT),
                         SLICE("{\"keys\":{},\"unsigned\":{\"x\":1},\"signatures\":{\"@a:b\":{\"ed25519:D\":\"own\"}}}")));
    assert_true(slice_eq(key_merge(arena, SLICE("{\"a\":1}"), NULL, SLICE_ABSENT), SLICE("{\"a\":1}")));
    assert_true(slice_is_absent(key_merge(arena, SLICE("[]"), &first, SLICE_ABSENT)));
    assert_true(slice_is_absent(key_merge(arena, SLICE_ABSENT, &first, SLICE_ABSENT)));
}

static void public_keys(void **state)
{
    assert_true(slice_eq(cross_signing_public_key(parse("{\"keys\":{\"ed25519:abc\":\"abc\"}}")), SLICE("abc")));
    static const char *const bad[] = {"{}",
                                      "{\"keys\":[]}",
                                      "{\"keys\":{}}",
                                      "{\"keys\":{\"ed25519:a\":\"b\"}}",
                                      "{\"keys\":{\"ed25519:a\":\"a\",\"ed25519:b\":\"b\"}}",
                                      "{\"keys\":{\"x:a\":\"a\"}}",
                                      "{\"keys\":{\"ed25519:\":\"\"}}",
                                      "{\"keys\":{\"ed25519:a\":1}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_true(slice_is_absent(cross_signing_public_key(parse(bad[i]))));
}

static void signatures(void **state)
{
    const struct json *key = parse("{\"b\":1,\"a\":2,\"signatures\":{\"@a:b\":{\"ed25519:K\":\"AAAA\"}},\"unsigned\":{}}");
    assert_true(slice_eq(key_signed_bytes(arena, key), SLICE("{\"a\":2,\"b\":1}")));
    assert_false(key_is_signed_by(arena, key, SLICE("@a:b"), SLICE("K"), SLICE("AAAA"))); /* too short to be one */
    assert_false(key_is_signed_by(arena, key, SLICE("@a:b"), SLICE("L"), SLICE("AAAA"))); /* none of that name */
    assert_false(key_is_signed_by(arena, key, SLICE("@x:b"), SLICE("K"), SLICE("AAAA")));
    assert_false(key_is_signed_by(arena, key, SLICE("@a:b"), SLICE("K"), SLICE_ABSENT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters),     cmocka_unit_test(push_rules), cmocka_unit_test(merging),
        cmocka_unit_test(public_keys), cmocka_unit_test(signatures),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
