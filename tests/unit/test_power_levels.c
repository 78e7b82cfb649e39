/* m.room.power_levels: defaults, who counts as a creator, and how levels may be written in which version. */
#include "tests/unit/test_auth_rules_room.h"

#include "lib/matrix/power_levels.h"

static struct power_levels levels_of(struct arena *arena, int number, const char *create, const char *content)
{
    const struct room_version *version = test_version(number);
    const struct event **events = arena_new_array(arena, 2, const struct event *);
    size_t count = 0;
    events[count++] = test_event(arena, version, "$create", (struct event_line){"m.room.create", "", "@alice:a", create});
    if (content)
        events[count++] =
            test_event(arena, version, "$levels", (struct event_line){"m.room.power_levels", "", "@alice:a", content});
    struct event_list_view view = event_list_view(events, count);
    return power_levels_from(&view.view, version);
}

static const struct value_case {
    const char *json;
    int from, to;
    int64_t level; /* -1: not a level */
} values[] = {
    {"50", 1, 12, 50},
    {"-5", 1, 12, -5},
    {"9007199254740991", 1, 12, 9007199254740991},
    {"\"100\"", 1, 9, 100},
    {"\"000100\"", 1, 9, 100},
    {"\"+100\"", 1, 9, 100},
    {"\"-100\"", 1, 9, -100},
    {"\" 100 \"", 1, 9, 100},
    {"\"\\t+100\\n\"", 1, 9, 100},
    {"\"99999999999999999999999\"", 1, 9, INT64_MAX},
    {"\"-99999999999999999999999\"", 1, 9, -INT64_MAX},
    {"\"100\"", 10, 12, -1},
    {"\"\"", 1, 12, -1},
    {"\"+\"", 1, 12, -1},
    {"\"+-1\"", 1, 12, -1},
    {"\"1 0\"", 1, 12, -1},
    {"\"1.5\"", 1, 12, -1},
    {"\"0x10\"", 1, 12, -1},
    {"50.57", 1, 5, 50},
    {"-50.57", 1, 5, -50},
    {"5.114698E4", 1, 5, 51146},
    {"1e300", 1, 5, INT64_MAX},
    {"-1e300", 1, 5, INT64_MIN},
    {"null", 1, 12, -1},
    {"true", 1, 12, -1},
    {"[]", 1, 12, -1},
    {"{}", 1, 12, -1},
};

static void test_values(void **unused)
{
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int number = values[i].from; number <= values[i].to; number++) {
            struct arena *arena = arena_create(1 << 20);
            const struct room_version *version = test_version(number);
            int64_t level = -1;
            power_level_value(version, test_json(arena, version, values[i].json), &level);
            if (level != values[i].level)
                fail_msg("%s, version %d: %lld", values[i].json, number, (long long)level);
            arena_destroy(&arena);
        }
}

static void test_without_event(void **unused)
{
    for (int number = 1; number <= 12; number++) {
        struct arena *arena = arena_create(1 << 20);
        struct power_levels levels = levels_of(arena, number, "{\"creator\":\"@alice:a\"}", NULL);
        assert_true(power_of_user(&levels, SLICE("@alice:a")) == (number == 12 ? POWER_INFINITE : 100));
        assert_int_equal(power_of_user(&levels, SLICE("@bob:b")), 0);
        assert_int_equal(power_to_send(&levels, SLICE("x"), false), 0);
        assert_int_equal(power_to_send(&levels, SLICE("x"), true), 50);
        assert_int_equal(power_to(&levels, "invite"), 0);
        assert_int_equal(power_to(&levels, "kick"), 50);
        assert_int_equal(power_to(&levels, "ban"), 50);
        assert_int_equal(power_to(&levels, "redact"), 50);
        assert_int_equal(power_to_notify(&levels, "room"), 50);
        arena_destroy(&arena);
    }
}

static void test_with_event(void **unused)
{
    struct arena *arena = arena_create(1 << 20);
    struct power_levels levels =
        levels_of(arena, 11, "{}",
                  "{\"users\":{\"@bob:b\":7},\"users_default\":3,\"events\":{\"x\":11},\"events_default\":1,"
                  "\"state_default\":2,\"invite\":4,\"kick\":5,\"ban\":6,\"redact\":8,"
                  "\"notifications\":{\"room\":9}}");
    assert_int_equal(power_of_user(&levels, SLICE("@bob:b")), 7);
    assert_int_equal(power_of_user(&levels, SLICE("@alice:a")), 3);
    assert_int_equal(power_to_send(&levels, SLICE("x"), true), 11);
    assert_int_equal(power_to_send(&levels, SLICE("y"), false), 1);
    assert_int_equal(power_to_send(&levels, SLICE("y"), true), 2);
    assert_int_equal(power_to(&levels, "invite"), 4);
    assert_int_equal(power_to(&levels, "kick"), 5);
    assert_int_equal(power_to(&levels, "ban"), 6);
    assert_int_equal(power_to(&levels, "redact"), 8);
    assert_int_equal(power_to_notify(&levels, "room"), 9);
    assert_int_equal(power_to_notify(&levels, "here"), 50);
    arena_destroy(&arena);
}

/* What cannot be read counts as missing. */
static void test_unreadable(void **unused)
{
    struct arena *arena = arena_create(1 << 20);
    struct power_levels levels =
        levels_of(arena, 9, "{\"creator\":\"@alice:a\"}",
                  "{\"users\":{\"@bob:b\":\"x\"},\"users_default\":\"2\",\"events\":[],\"state_default\":{},"
                  "\"kick\":null,\"notifications\":\"room\"}");
    assert_int_equal(power_of_user(&levels, SLICE("@bob:b")), 2);
    assert_int_equal(power_to_send(&levels, SLICE("x"), true), 50);
    assert_int_equal(power_to(&levels, "kick"), 50);
    assert_int_equal(power_to_notify(&levels, "room"), 50);
    arena_destroy(&arena);
}

static void test_creators(void **unused)
{
    const char *content = "{\"creator\":\"@bob:b\",\"additional_creators\":[\"@carol:c\",7,\"@dan:d\"]}";
    for (int number = 1; number <= 12; number++) {
        struct arena *arena = arena_create(1 << 20);
        struct power_levels levels = levels_of(arena, number, content, "{\"users\":{\"@carol:c\":5}}");
        assert_int_equal(user_is_creator(levels.create, SLICE("@bob:b")), number < 11);
        assert_int_equal(user_is_creator(levels.create, SLICE("@alice:a")), number >= 11);
        assert_int_equal(user_is_creator(levels.create, SLICE("@dan:d")), number == 12);
        assert_int_equal(user_is_creator(levels.create, SLICE("@eve:e")), false);
        assert_int_equal(user_is_creator(NULL, SLICE("@alice:a")), false);
        assert_true(power_of_user(&levels, SLICE("@carol:c")) == (number == 12 ? POWER_INFINITE : 5));
        arena_destroy(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_without_event), cmocka_unit_test(test_with_event),
        cmocka_unit_test(test_unreadable), cmocka_unit_test(test_creators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
