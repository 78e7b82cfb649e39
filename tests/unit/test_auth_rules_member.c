/* Rule 5, m.room.member: a case for each way to meet or break a rule. Third-party invites have their own program. */
#include "tests/unit/test_auth_rules_room.h"

#define MEMBER(target, sender, membership) \
    { \
        "m.room.member", target, sender, "{\"membership\":\"" membership "\"}" \
    }
#define SELF(user, membership) MEMBER(user, user, membership)
#define RULE(rule) \
    { \
        "m.room.join_rules", "", "@alice:a", "{\"join_rule\":\"" rule "\"}" \
    }
#define LEVELS(content) \
    { \
        "m.room.power_levels", "", "@alice:a", content \
    }
#define VOUCHED(user, by) \
    { \
        "m.room.member", user, user, "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"" by "\"}" \
    }
#define CREATE(sender, content) \
    { \
        "m.room.create", "", sender, content \
    }
#define GONE(user) \
    { \
        "m.room.member", user, user, NULL \
    }
#define YAN "@yan:y"

static const struct rule_case form[] = {
    {"5.1 no membership", 1, 12, "no membership", {"m.room.member", YAN, YAN, "{}"}},
    {"5.1 no state_key", 1, 12, "no state_key", {"m.room.member", NULL, YAN, "{\"membership\":\"join\"}"}},
    {"5.8 unknown membership", 1, 12, "unknown", SELF(YAN, "dance")},
    {"5.8 membership not a string", 1, 12, "unknown", {"m.room.member", YAN, YAN, "{\"membership\":7}"}},
    {"5.8 knock before 7", 1, 6, "unknown", SELF(YAN, "knock"), {RULE("knock")}},
    {"5.2 authoriser not a string",
     8,
     12,
     "user id",
     {"m.room.member", YAN, YAN, "{\"membership\":\"join\",\"join_authorised_via_users_server\":1}"},
     {RULE("public")}},
    {"5.2 authoriser not a user", 8, 12, "user id", VOUCHED(YAN, "mod"), {RULE("public")}},
    {"5.2 authoriser before 8", 1, 7, NULL, VOUCHED(YAN, "mod"), {RULE("public")}},
};

static const struct rule_case joins[] = {
    {"5.3.1 the creator's first join",
     1,
     12,
     NULL,
     SELF("@alice:a", "join"),
     {GONE("@alice:a"), LEVELS(NULL), RULE("invite")},
     {ROOM_CREATE_ID}},
    {"5.3.1 not the only previous event", 1, 12, "join rule", SELF("@alice:a", "join"), {GONE("@alice:a")}, {ROOM_CREATE_ID, "$x"}},
    {"5.3.1 not after the create event", 1, 12, "join rule", SELF("@alice:a", "join"), {GONE("@alice:a")}, {"$x"}},
    {"5.3.1 somebody else", 1, 12, "join rule", SELF(YAN, "join"), {GONE("@alice:a")}, {ROOM_CREATE_ID}},
    {"5.3.1 an additional creator is not the sender of create",
     12,
     12,
     "join rule",
     SELF(YAN, "join"),
     {CREATE("@alice:a", "{\"additional_creators\":[\"@yan:y\"]}")},
     {ROOM_CREATE_ID}},
    {"5.3.1 content.creator before 11",
     1,
     10,
     NULL,
     SELF(YAN, "join"),
     {CREATE("@alice:a", "{\"creator\":\"@yan:y\"}")},
     {ROOM_CREATE_ID}},
    {"5.3.1 content.creator since 11",
     11,
     12,
     "join rule",
     SELF(YAN, "join"),
     {CREATE("@alice:a", "{\"creator\":\"@yan:y\"}")},
     {ROOM_CREATE_ID}},
    {"5.3.2 joining somebody else", 1, 12, "not the state_key", MEMBER(YAN, "@alice:a", "join"), {RULE("public")}},
    {"5.3.3 banned", 1, 12, "banned", SELF(YAN, "join"), {RULE("public"), MEMBER(YAN, "@mod:a", "ban")}},
    {"5.3.4 invited", 1, 12, NULL, SELF(YAN, "join"), {MEMBER(YAN, "@mod:a", "invite")}},
    {"5.3.4 joined already", 1, 12, NULL, SELF("@bob:b", "join")},
    {"5.3.4 not invited", 1, 12, "join rule", SELF(YAN, "join")},
    {"5.3.4 left", 1, 12, "join rule", SELF(YAN, "join"), {SELF(YAN, "leave")}},
    {"5.3.4 no join rules means invite",
     1,
     12,
     NULL,
     SELF(YAN, "join"),
     {{"m.room.join_rules", "", "", NULL}, MEMBER(YAN, "@mod:a", "invite")}},
    {"5.3.4 no join rules means invite, not invited", 1, 12, "join rule", SELF(YAN, "join"), {{"m.room.join_rules", "", "", NULL}}},
    {"5.3.4 join rules without a rule",
     1,
     12,
     NULL,
     SELF(YAN, "join"),
     {{"m.room.join_rules", "", "@alice:a", "{}"}, MEMBER(YAN, "@mod:a", "invite")}},
    {"5.3.4 knock, invited", 7, 12, NULL, SELF(YAN, "join"), {RULE("knock"), MEMBER(YAN, "@mod:a", "invite")}},
    {"5.3.4 knock, only knocked", 7, 12, "join rule", SELF(YAN, "join"), {RULE("knock"), SELF(YAN, "knock")}},
    {"5.3.4 knock before 7", 1, 6, "join rule", SELF(YAN, "join"), {RULE("knock"), MEMBER(YAN, "@mod:a", "invite")}},
    {"5.3.5.1 restricted, invited", 8, 12, NULL, SELF(YAN, "join"), {RULE("restricted"), MEMBER(YAN, "@mod:a", "invite")}},
    {"5.3.5.1 restricted, joined", 8, 12, NULL, SELF("@bob:b", "join"), {RULE("restricted")}},
    {"5.3.5.1 knock_restricted, invited",
     10,
     12,
     NULL,
     SELF(YAN, "join"),
     {RULE("knock_restricted"), MEMBER(YAN, "@mod:a", "invite")}},
    {"5.3.5.2 restricted, nobody vouches", 8, 12, "vouches", SELF(YAN, "join"), {RULE("restricted")}},
    {"5.3.5.2 restricted, the voucher may not invite",
     8,
     12,
     "vouches",
     VOUCHED(YAN, "@bob:b"),
     {RULE("restricted"), LEVELS("{\"invite\":1}")}},
    {"5.3.5.2 restricted, the voucher left",
     8,
     12,
     "vouches",
     VOUCHED(YAN, "@bob:b"),
     {RULE("restricted"), SELF("@bob:b", "leave")}},
    {"5.3.5.2 restricted, the voucher is a creator but not in",
     12,
     12,
     "vouches",
     VOUCHED(YAN, "@alice:a"),
     {RULE("restricted"), SELF("@alice:a", "leave")}},
    {"5.3.5.2 restricted, banned", 8, 12, "banned", VOUCHED(YAN, "@mod:a"), {RULE("restricted"), MEMBER(YAN, "@mod:a", "ban")}},
    {"5.3.5.3 restricted, vouched for", 8, 12, NULL, VOUCHED(YAN, "@bob:b"), {RULE("restricted")}},
    {"5.3.5.3 knock_restricted, vouched for",
     10,
     12,
     NULL,
     VOUCHED(YAN, "@mod:a"),
     {RULE("knock_restricted"), LEVELS("{\"invite\":50,\"users\":{\"@mod:a\":50}}")}},
    {"5.3.5.3 a creator vouches", 12, 12, NULL, VOUCHED(YAN, "@alice:a"), {RULE("restricted"), LEVELS("{\"invite\":100}")}},
    {"5.3.5 restricted before 8", 1, 7, "join rule", VOUCHED(YAN, "@mod:a"), {RULE("restricted")}},
    {"5.3.5 restricted before 8, invited",
     1,
     7,
     "join rule",
     SELF(YAN, "join"),
     {RULE("restricted"), MEMBER(YAN, "@mod:a", "invite")}},
    {"5.3.5 knock_restricted before 10", 1, 9, "join rule", VOUCHED(YAN, "@mod:a"), {RULE("knock_restricted")}},
    {"5.3.6 public", 1, 12, NULL, SELF(YAN, "join"), {RULE("public")}},
    {"5.3.7 private", 1, 12, "join rule", SELF(YAN, "join"), {RULE("private"), MEMBER(YAN, "@mod:a", "invite")}},
};

static const struct rule_case invites[] = {
    {"5.4.2 the sender is not in", 1, 12, "not joined", MEMBER(YAN, "@xi:x", "invite")},
    {"5.4.3 the target is joined", 1, 12, "joined or banned", MEMBER("@bob:b", "@mod:a", "invite")},
    {"5.4.3 the target is banned", 1, 12, "joined or banned", MEMBER(YAN, "@mod:a", "invite"), {MEMBER(YAN, "@mod:a", "ban")}},
    {"5.4.4 anybody may by default", 1, 12, NULL, MEMBER(YAN, "@bob:b", "invite")},
    {"5.4.4 without levels too", 1, 12, NULL, MEMBER(YAN, "@bob:b", "invite"), {LEVELS(NULL)}},
    {"5.4.4 invited again", 1, 12, NULL, MEMBER(YAN, "@bob:b", "invite"), {MEMBER(YAN, "@mod:a", "invite")}},
    {"5.4.4 who knocked", 7, 12, NULL, MEMBER(YAN, "@bob:b", "invite"), {RULE("knock"), SELF(YAN, "knock")}},
    {"5.4.4 invite level met", 1, 12, NULL, MEMBER(YAN, "@mod:a", "invite"), {LEVELS("{\"invite\":50,\"users\":{\"@mod:a\":50}}")}},
    {"5.4.5 invite level missed", 1, 12, "invite level", MEMBER(YAN, "@bob:b", "invite"), {LEVELS("{\"invite\":50}")}},
};

static const struct rule_case leaves[] = {
    {"5.5.1 joined", 1, 12, NULL, SELF("@bob:b", "leave")},
    {"5.5.1 invited", 1, 12, NULL, SELF(YAN, "leave"), {MEMBER(YAN, "@mod:a", "invite")}},
    {"5.5.1 knocked", 7, 12, NULL, SELF(YAN, "leave"), {SELF(YAN, "knock")}},
    {"5.5.1 knocked before 7", 1, 6, "leave", SELF(YAN, "leave"), {SELF(YAN, "knock")}},
    {"5.5.1 never in", 1, 12, "leave", SELF(YAN, "leave")},
    {"5.5.1 left already", 1, 12, "leave", SELF(YAN, "leave"), {SELF(YAN, "leave")}},
    {"5.5.1 banned", 1, 12, "leave", SELF(YAN, "leave"), {MEMBER(YAN, "@mod:a", "ban")}},
    {"5.5.2 the sender is not in", 1, 12, "not joined", MEMBER("@bob:b", YAN, "leave")},
    {"5.5.3 unban", 1, 12, NULL, MEMBER(YAN, "@mod:a", "leave"), {MEMBER(YAN, "@mod:a", "ban")}},
    {"5.5.3 unban without the ban level",
     1,
     12,
     "ban level",
     MEMBER(YAN, "@mod:a", "leave"),
     {MEMBER(YAN, "@alice:a", "ban"), LEVELS("{\"ban\":60,\"users\":{\"@mod:a\":50}}")}},
    {"5.5.3 unban without the kick level",
     1,
     12,
     "kick level",
     MEMBER(YAN, "@mod:a", "leave"),
     {MEMBER(YAN, "@alice:a", "ban"), LEVELS("{\"kick\":60,\"users\":{\"@mod:a\":50}}")}},
    {"5.5.4 kick", 1, 12, NULL, MEMBER("@bob:b", "@mod:a", "leave")},
    {"5.5.4 withdraw an invitation", 1, 12, NULL, MEMBER(YAN, "@mod:a", "leave"), {MEMBER(YAN, "@bob:b", "invite")}},
    {"5.5.4 kick without the kick level", 1, 12, "kick level", MEMBER("@zoe:z", "@bob:b", "leave")},
    {"5.5.4 kick an equal",
     1,
     12,
     "target's power",
     MEMBER("@bob:b", "@mod:a", "leave"),
     {LEVELS("{\"users\":{\"@mod:a\":50,\"@bob:b\":50}}")}},
    {"5.5.4 kick a creator", 1, 12, "target's power", MEMBER("@alice:a", "@mod:a", "leave")},
    {"5.5.4 a creator kicks the strongest",
     12,
     12,
     NULL,
     MEMBER("@bob:b", "@alice:a", "leave"),
     {LEVELS("{\"users\":{\"@bob:b\":9007199254740991}}")}},
    {"5.5.4 a creator kicks a creator",
     12,
     12,
     "target's power",
     MEMBER("@bob:b", "@alice:a", "leave"),
     {CREATE("@alice:a", "{\"additional_creators\":[\"@bob:b\"]}")}},
};

static const struct rule_case bans[] = {
    {"5.6.1 the sender is not in", 1, 12, "not joined", MEMBER("@bob:b", YAN, "ban")},
    {"5.6.2 ban a member", 1, 12, NULL, MEMBER("@bob:b", "@mod:a", "ban")},
    {"5.6.2 ban who is not in", 1, 12, NULL, MEMBER(YAN, "@mod:a", "ban")},
    {"5.6.3 without the ban level", 1, 12, "ban level", MEMBER("@zoe:z", "@bob:b", "ban")},
    {"5.6.3 with the kick level alone",
     1,
     12,
     "ban level",
     MEMBER("@zoe:z", "@mod:a", "ban"),
     {LEVELS("{\"ban\":51,\"users\":{\"@mod:a\":50}}")}},
    {"5.6.3 an equal",
     1,
     12,
     "target's power",
     MEMBER("@bob:b", "@mod:a", "ban"),
     {LEVELS("{\"users\":{\"@mod:a\":50,\"@bob:b\":50}}")}},
    {"5.6.3 oneself", 1, 12, "target's power", SELF("@mod:a", "ban")},
    {"5.6.3 a creator",
     12,
     12,
     "target's power",
     MEMBER("@alice:a", "@mod:a", "ban"),
     {LEVELS("{\"users\":{\"@mod:a\":9007199254740991}}")}},
};

static const struct rule_case knocks[] = {
    {"5.7.1 by invitation", 7, 12, "join rule", SELF(YAN, "knock")},
    {"5.7.1 public", 7, 12, "join rule", SELF(YAN, "knock"), {RULE("public")}},
    {"5.7.1 restricted", 8, 12, "join rule", SELF(YAN, "knock"), {RULE("restricted")}},
    {"5.7.1 knock_restricted before 10", 7, 9, "join rule", SELF(YAN, "knock"), {RULE("knock_restricted")}},
    {"5.7.2 for somebody else", 7, 12, "not the state_key", MEMBER(YAN, "@xi:x", "knock"), {RULE("knock")}},
    {"5.7.3 knock", 7, 12, NULL, SELF(YAN, "knock"), {RULE("knock")}},
    {"5.7.3 knock_restricted", 10, 12, NULL, SELF(YAN, "knock"), {RULE("knock_restricted")}},
    {"5.7.3 after leaving", 7, 12, NULL, SELF(YAN, "knock"), {RULE("knock"), SELF(YAN, "leave")}},
    {"5.7.3 again", 7, 12, NULL, SELF(YAN, "knock"), {RULE("knock"), SELF(YAN, "knock")}},
    {"5.7.4 banned", 7, 12, "banned, invited or joined", SELF(YAN, "knock"), {RULE("knock"), MEMBER(YAN, "@mod:a", "ban")}},
    {"5.7.4 invited", 7, 12, "banned, invited or joined", SELF(YAN, "knock"), {RULE("knock"), MEMBER(YAN, "@mod:a", "invite")}},
    {"5.7.4 joined", 7, 12, "banned, invited or joined", SELF("@bob:b", "knock"), {RULE("knock")}},
};

static void test_form(void **unused)
{
    RUN_RULE_CASES(form);
}
static void test_joins(void **unused)
{
    RUN_RULE_CASES(joins);
}
static void test_invites(void **unused)
{
    RUN_RULE_CASES(invites);
}
static void test_leaves(void **unused)
{
    RUN_RULE_CASES(leaves);
}
static void test_bans(void **unused)
{
    RUN_RULE_CASES(bans);
}
static void test_knocks(void **unused)
{
    RUN_RULE_CASES(knocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),   cmocka_unit_test(test_joins), cmocka_unit_test(test_invites),
        cmocka_unit_test(test_leaves), cmocka_unit_test(test_bans),  cmocka_unit_test(test_knocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
