/* Rule 10, m.room.power_levels: a case for each way to meet or break a rule. The sender is mostly Mod with power 50, for whom
 * "m.room.power_levels" itself is at 50. */
#include "tests/unit/test_auth_rules_room.h"

#define LEVELS_BY(sender, content) \
    { \
        "m.room.power_levels", "", sender, content \
    }
#define NEW(content) LEVELS_BY("@mod:a", content)
#define OLD(content) LEVELS_BY("@alice:a", content)
#define MOD_IS_50 "\"users\":{\"@mod:a\":50}"

static const struct rule_case form[] = {
    {"10.1 not an integer: string", 10, 12, "not an integer", NEW("{\"ban\":\"50\"," MOD_IS_50 "}")},
    {"10.1 not an integer: null", 10, 12, "not an integer", NEW("{\"users_default\":null," MOD_IS_50 "}")},
    {"10.1 not an integer: events_default", 10, 12, "not an integer", NEW("{\"events_default\":true," MOD_IS_50 "}")},
    {"10.1 not an integer: state_default", 10, 12, "not an integer", NEW("{\"state_default\":[]," MOD_IS_50 "}")},
    {"10.1 not an integer: redact", 10, 12, "not an integer", NEW("{\"redact\":{}," MOD_IS_50 "}")},
    {"10.1 not an integer: kick", 10, 12, "not an integer", NEW("{\"kick\":\"\"," MOD_IS_50 "}")},
    {"10.1 not an integer: invite", 10, 12, "not an integer", NEW("{\"invite\":\"0\"," MOD_IS_50 "}")},
    {"10.1 strings before 10", 1, 9, NULL, NEW("{\"ban\":\" +050 \"," MOD_IS_50 "}"), {OLD("{" MOD_IS_50 "}")}},
    {"10.1 other properties are free", 10, 12, NULL, NEW("{\"x\":\"50\"," MOD_IS_50 "}"), {OLD("{" MOD_IS_50 "}")}},
    {"10.2 events not an object", 10, 12, "map of integers", NEW("{\"events\":[]," MOD_IS_50 "}")},
    {"10.2 events with a string", 10, 12, "map of integers", NEW("{\"events\":{\"x\":\"1\"}," MOD_IS_50 "}")},
    {"10.2 notifications not an object", 10, 12, "map of integers", NEW("{\"notifications\":50," MOD_IS_50 "}")},
    {"10.2 notifications with a string", 10, 12, "map of integers", NEW("{\"notifications\":{\"room\":\"1\"}," MOD_IS_50 "}")},
    {"10.2 nobody looks before 10", 1, 9, NULL, NEW("{\"events\":[],\"notifications\":7," MOD_IS_50 "}"), {OLD("{" MOD_IS_50 "}")}},
    {"10.3 users not an object", 1, 12, "map of integers", NEW("{\"users\":[]}")},
    {"10.3 users not a user id", 1, 12, "not a user id", NEW("{\"users\":{\"mod\":50}}")},
    {"10.3 users with a string", 10, 12, "map of integers", NEW("{\"users\":{\"@mod:a\":\"50\"}}")},
    {"10.3 users with a string before 10", 1, 9, NULL, NEW("{\"users\":{\"@mod:a\":\"50\"}}"), {OLD("{" MOD_IS_50 "}")}},
    {"10.3 users with a string that is no integer", 1, 9, "map of integers", NEW("{\"users\":{\"@mod:a\":\"5O\"}}")},
    {"10.3 users with an empty string", 1, 9, "map of integers", NEW("{\"users\":{\"@mod:a\":\" - \"}}")},
    {"10.3 users with a float before 6", 1, 5, NULL, NEW("{\"users\":{\"@mod:a\":50.57}}"), {OLD("{" MOD_IS_50 "}")}},
    {"10.3 users with null", 1, 12, "map of integers", NEW("{\"users\":{\"@mod:a\":null}}")},
    {"10.4 the creator is listed", 12, 12, "names a creator", LEVELS_BY("@alice:a", "{\"users\":{\"@alice:a\":100}}")},
    {"10.4 an additional creator is listed",
     12,
     12,
     "names a creator",
     LEVELS_BY("@alice:a", "{\"users\":{\"@bob:b\":1}}"),
     {{"m.room.create", "", "@alice:a", "{\"additional_creators\":[\"@zoe:z\",\"@bob:b\"]}"}}},
    {"10.4 listed in the first levels",
     12,
     12,
     "names a creator",
     LEVELS_BY("@alice:a", "{\"users\":{\"@alice:a\":100}}"),
     {OLD(NULL)}},
    {"10.4 creators are listed before 12", 1, 11, NULL, LEVELS_BY("@alice:a", "{\"users\":{\"@alice:a\":100,\"@mod:a\":50}}")},
    {"10.5 the first levels", 1, 12, NULL, LEVELS_BY("@alice:a", "{\"ban\":1000,\"users\":{\"@mod:a\":1000}}"), {OLD(NULL)}},
    {"8 before 10", 1, 12, "event type", LEVELS_BY("@bob:b", "{}")},
};

#define SINGLE(open, level) \
    {"10.6.1 " level " is above", \
     1, \
     12, \
     "a level above", \
     NEW("{" MOD_IS_50 "}"), \
     {OLD("{\"" level "\":51," MOD_IS_50 "," open "}")}}, \
        {"10.6.2 " level " is raised above", 1, 12, "a level above", NEW("{\"" level "\":51," MOD_IS_50 "}"), \
         {OLD("{" MOD_IS_50 "," open "}")}}, \
        {"10.6 " level " is changed below", \
         1, \
         12, \
         NULL, \
         NEW("{\"" level "\":50," MOD_IS_50 "}"), \
         {OLD("{\"" level "\":40," MOD_IS_50 "," open "}")}}, \
    { \
        "10.6 " level " stays above", 1, 12, NULL, NEW("{\"" level "\":51," MOD_IS_50 "}"), \
        { \
            OLD("{\"" level "\":51," MOD_IS_50 "," open "}") \
        } \
    }
#define OPEN "\"events\":{\"m.room.power_levels\":0}"
/* OPEN lets Mod change the levels whatever state_default says; removing that entry again is within his power. */
static const struct rule_case singles[] = {
    SINGLE(OPEN, "users_default"),
    SINGLE(OPEN, "events_default"),
    SINGLE(OPEN, "state_default"),
    SINGLE(OPEN, "ban"),
    SINGLE(OPEN, "redact"),
    SINGLE(OPEN, "kick"),
    SINGLE(OPEN, "invite"),
    {"10.6 removed", 1, 12, NULL, NEW("{" MOD_IS_50 "}"), {OLD("{\"ban\":50," MOD_IS_50 "}")}},
    {"10.6 a string for the same level", 1, 9, NULL, NEW("{\"ban\":\"99\"," MOD_IS_50 "}"), {OLD("{\"ban\":99," MOD_IS_50 "}")}},
    {"10.6 a creator may all",
     12,
     12,
     NULL,
     LEVELS_BY("@alice:a", "{\"ban\":9007199254740991}"),
     {OLD("{\"ban\":9007199254740990," MOD_IS_50 "}")}},
};

#define ENTRY(map, first) \
    {"10.7 " map ": changed from above", \
     first, \
     12, \
     "an entry above", \
     NEW("{\"" map "\":{\"x\":10}," MOD_IS_50 "}"), \
     {OLD("{\"" map "\":{\"x\":51}," MOD_IS_50 "}")}}, \
        {"10.7 " map ": removed from above", \
         first, \
         12, \
         "an entry above", \
         NEW("{" MOD_IS_50 "}"), \
         {OLD("{\"" map "\":{\"x\":51}," MOD_IS_50 "}")}}, \
        {"10.7 " map ": removed at", first, 12, NULL, NEW("{" MOD_IS_50 "}"), {OLD("{\"" map "\":{\"x\":50}," MOD_IS_50 "}")}}, \
        {"10.8 " map ": added above", first, 12, "an entry above", NEW("{\"" map "\":{\"x\":51}," MOD_IS_50 "}"), \
         {OLD("{" MOD_IS_50 "}")}}, \
        {"10.8 " map ": added at", \
         first, \
         12, \
         NULL, \
         NEW("{\"" map "\":{\"a\":1,\"x\":50}," MOD_IS_50 "}"), \
         {OLD("{\"" map "\":{\"a\":1}," MOD_IS_50 "}")}}, \
        {"10.8 " map ": changed to above", \
         first, \
         12, \
         "an entry above", \
         NEW("{\"" map "\":{\"x\":51}," MOD_IS_50 "}"), \
         {OLD("{\"" map "\":{\"x\":50}," MOD_IS_50 "}")}}, \
    { \
        "10.8 " map ": stays above", first, 12, NULL, NEW("{\"" map "\":{\"a\":1,\"x\":99}," MOD_IS_50 "}"), \
        { \
            OLD("{\"" map "\":{\"x\":99}," MOD_IS_50 "}") \
        } \
    }
static const struct rule_case entries[] = {
    ENTRY("events", 1),
    ENTRY("notifications", 6),
    {"notifications are free before 6",
     1,
     5,
     NULL,
     NEW("{\"notifications\":{\"room\":51}," MOD_IS_50 "}"),
     {OLD("{\"notifications\":{\"room\":99}," MOD_IS_50 "}")}},
};

#define USERS(bob) "{\"users\":{\"@mod:a\":50,\"@bob:b\":" bob "}}"
static const struct rule_case users[] = {
    {"10.9 changed from above", 1, 12, "equal or stronger", NEW(USERS("10")), {OLD(USERS("51"))}},
    {"10.9 changed from equal", 1, 12, "equal or stronger", NEW(USERS("10")), {OLD(USERS("50"))}},
    {"10.9 removed from equal", 1, 12, "equal or stronger", NEW("{" MOD_IS_50 "}"), {OLD(USERS("50"))}},
    {"10.9 changed from below", 1, 12, NULL, NEW(USERS("10")), {OLD(USERS("49"))}},
    {"10.9 removed from below", 1, 12, NULL, NEW("{" MOD_IS_50 "}"), {OLD(USERS("49"))}},
    {"10.9 stays equal", 1, 12, NULL, NEW("{\"ban\":50,\"users\":{\"@mod:a\":50,\"@bob:b\":50}}"), {OLD(USERS("50"))}},
    {"10.9 one's own entry may go down", 1, 12, NULL, NEW("{\"users\":{\"@mod:a\":0}}"), {OLD("{" MOD_IS_50 "}")}},
    {"10.9 one's own entry may go", 1, 12, NULL, NEW("{}"), {OLD("{" MOD_IS_50 "}")}},
    {"10.10 one's own entry may not go up",
     1,
     12,
     "more than the sender",
     NEW("{\"users\":{\"@mod:a\":51}}"),
     {OLD("{" MOD_IS_50 "}")}},
    {"10.10 added above", 1, 12, "more than the sender", NEW(USERS("51")), {OLD("{" MOD_IS_50 "}")}},
    {"10.10 added at", 1, 12, NULL, NEW(USERS("50")), {OLD("{" MOD_IS_50 "}")}},
    {"10.10 changed to above", 1, 12, "more than the sender", NEW(USERS("51")), {OLD(USERS("49"))}},
    {"10.10 a creator may all",
     12,
     12,
     NULL,
     LEVELS_BY("@alice:a", "{\"users\":{\"@bob:b\":9007199254740991}}"),
     {OLD(USERS("9007199254740990"))}},
    {"10.10 the float's fraction is no power", 1, 5, NULL, NEW(USERS("50.9")), {OLD("{" MOD_IS_50 "}")}},
    {"10.10 beyond int64 is still more", 1, 5, "more than the sender", NEW(USERS("1e300")), {OLD("{" MOD_IS_50 "}")}},
};

static void test_form(void **unused)
{
    RUN_RULE_CASES(form);
}
static void test_singles(void **unused)
{
    RUN_RULE_CASES(singles);
}
static void test_entries(void **unused)
{
    RUN_RULE_CASES(entries);
}
static void test_users(void **unused)
{
    RUN_RULE_CASES(users);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_singles),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_users),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
