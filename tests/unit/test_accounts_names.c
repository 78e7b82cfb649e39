/* User names and profile fields (workers/accounts/user_name.c, profile_fields.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "workers/accounts/profile_fields.c"
#include "workers/accounts/user_name.c"

static struct arena *arena;

static int start(void **state)
{
    arena = arena_create(1024 * 1024);
    return 0;
}

static int finish(void **state)
{
    arena_destroy(&arena);
    return 0;
}

static void registering(void **state)
{
    static const struct {
        const char *typed, *user_id; /* NULL: refused */
    } cases[] = {
        {"alice", "@alice:hs1"},
        {"user-UPPER", "@user-upper:hs1"},
        {"q3._=-/+", "@q3._=-/+:hs1"},
        {"", NULL},
        {"_bot", NULL},
        {"a b", NULL},
        {"a:b", NULL},
        {"é", NULL},
        {"a!", NULL},
        {"@a", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice user_id = user_id_to_register(arena, slice_from_cstr(cases[i].typed), SLICE("hs1"));
        assert_true(slice_eq(user_id, slice_from_cstr(cases[i].user_id)));
        assert_int_equal(slice_is_absent(user_id), cases[i].user_id == NULL);
    }
    char longer[252];
    memset(longer, 'a', sizeof longer);
    assert_true(slice_is_absent(user_id_to_register(arena, slice_of(longer, 251), SLICE("hs1"))));
    assert_false(slice_is_absent(user_id_to_register(arena, slice_of(longer, 250), SLICE("hs1"))));
}

static void logging_in(void **state)
{
    static const struct {
        const char *typed, *user_id;
    } cases[] = {
        {"alice", "@alice:hs1"},
        {"@alice:hs1", "@alice:hs1"},
        {"@Alice:hs1", "@Alice:hs1"},
        {"@alice:hs2", NULL},
        {"@alice", NULL},
        {"@alice:hs1:80", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0] - 1; i++) {
        struct slice user_id = user_id_to_log_in(arena, slice_from_cstr(cases[i].typed), SLICE("hs1"));
        assert_true(slice_eq(user_id, slice_from_cstr(cases[i].user_id)));
        assert_int_equal(slice_is_absent(user_id), cases[i].user_id == NULL);
    }
}

static void field_names(void **state)
{
    static const char *const good[] = {"displayname", "avatar_url", "m.tz", "org.example.x-y_z", "a.b.c1"};
    static const char *const bad[] = {"", "tz", "Displayname", "m.", ".m", "m..tz", "1.x", "a.B", "a. b", "a.é"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(profile_field_is_valid(slice_from_cstr(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(profile_field_is_valid(slice_from_cstr(bad[i])));
}

static void field_values(void **state)
{
    static const struct {
        const char *field, *value;
        bool good;
    } cases[] = {
        {"displayname", "\"Al\"", true},
        {"displayname", "null", true},
        {"displayname", "5", false},
        {"displayname", "\"a\\u0000\"", false},
        {"avatar_url", "\"mxc://a/b\"", true},
        {"avatar_url", "\"\"", true},
        {"avatar_url", "\"http://a\"", true},
        {"avatar_url", "{}", false},
        {"m.tz", "\"UTC\"", true},
        {"m.tz", "1", false},
        {"a.b", "[1,{}]", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct json *value = json_parse(arena, slice_from_cstr(cases[i].value), JSON_LAX, NULL);
        assert_int_equal(profile_value_problem(slice_from_cstr(cases[i].field), value) == NULL, cases[i].good);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registering),
        cmocka_unit_test(logging_in),
        cmocka_unit_test(field_names),
        cmocka_unit_test(field_values),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
