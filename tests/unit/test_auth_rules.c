/* The authorisation rules but those of m.room.member and m.room.power_levels: a case for each way to meet or break a rule. */
#include "tests/unit/test_auth_rules_room.h"

#define CREATE(sender, content) \
    { \
        "m.room.create", "", sender, content \
    }
#define NAME(sender) \
    { \
        "m.room.name", "", sender, "{\"name\":\"n\"}" \
    }
#define MESSAGE(sender) \
    { \
        "m.room.message", NULL, sender, "{}" \
    }
#define LEVELS(content) \
    { \
        "m.room.power_levels", "", "@alice:a", content \
    }

static const struct rule_case create_rules[] = {
    {"1.5 create", 1, 10, NULL, CREATE("@alice:a", "{\"creator\":\"@alice:a\"}")},
    {"1.4 create without creator since 11", 11, 12, NULL, CREATE("@alice:a", "{}")},
    {"1.4 create without creator before 11", 1, 10, "no creator", CREATE("@alice:a", "{}")},
    {"1.2 room_id of another domain", 1, 11, "domain", CREATE("@alice:b", "{\"creator\":\"@alice:b\"}")},
    {"1.2 12 has no domain to compare", 12, 12, NULL, CREATE("@alice:b", "{}")},
    {"1.3 recognised version", 11, 12, NULL, CREATE("@alice:a", "{\"room_version\":\"12\"}")},
    {"1.3 unknown version", 11, 12, "room_version", CREATE("@alice:a", "{\"room_version\":\"nope\"}")},
    {"1.3 version not a string", 11, 12, "room_version", CREATE("@alice:a", "{\"room_version\":12}")},
    {"1.4 additional creators", 12, 12, NULL, CREATE("@alice:a", "{\"additional_creators\":[\"@bob:b\",\"@Carol!:c\"]}")},
    {"1.4 no additional creators", 12, 12, NULL, CREATE("@alice:a", "{\"additional_creators\":[]}")},
    {"1.4 additional creators not a list", 12, 12, "additional_creators", CREATE("@alice:a", "{\"additional_creators\":\"@b:b\"}")},
    {"1.4 additional creators null", 12, 12, "additional_creators", CREATE("@alice:a", "{\"additional_creators\":null}")},
    {"1.4 additional creator not a string", 12, 12, "additional_creators", CREATE("@alice:a", "{\"additional_creators\":[1]}")},
    {"1.4 additional creator not a user", 12, 12, "additional_creators", CREATE("@alice:a", "{\"additional_creators\":[\"bob\"]}")},
    {"1.4 before 12 nobody looks", 11, 11, NULL, CREATE("@alice:a", "{\"additional_creators\":7}")},
    {"1.1 prev_events", 11, 12, "prev_events", CREATE("@alice:a", "{}"), {{0}}, {"$x"}},
};

static const struct rule_case common_rules[] = {
    {"no create event", 1, 12, "no m.room.create", MESSAGE("@alice:a"), {CREATE("", NULL)}},
    {"4 not federated, same server",
     10,
     12,
     NULL,
     MESSAGE("@mod:a"),
     {CREATE("@alice:a", "{\"creator\":\"@alice:a\",\"m.federate\":false}")}},
    {"4 not federated, other server",
     1,
     12,
     "federate",
     MESSAGE("@bob:b"),
     {CREATE("@alice:a", "{\"creator\":\"@alice:a\",\"m.federate\":false}")}},
    {"4 federated by name",
     10,
     12,
     NULL,
     MESSAGE("@bob:b"),
     {CREATE("@alice:a", "{\"creator\":\"@alice:a\",\"m.federate\":true}")}},
    {"aliases of the sender's domain", 1, 5, NULL, {"m.room.aliases", "b", "@bob:b", "{}"}},
    {"aliases of somebody who is not joined", 1, 5, NULL, {"m.room.aliases", "y", "@yan:y", "{}"}},
    {"aliases of another domain", 1, 5, "domain", {"m.room.aliases", "c", "@bob:b", "{}"}},
    {"aliases without state_key", 1, 5, "state_key", {"m.room.aliases", NULL, "@bob:b", "{}"}},
    {"aliases are plain state since 6", 6, 12, "event type", {"m.room.aliases", "b", "@bob:b", "{}"}},
    {"6 joined", 1, 12, NULL, MESSAGE("@bob:b")},
    {"6 never joined", 1, 12, "not joined", MESSAGE("@yan:y")},
    {"6 invited", 1, 12, "not joined", MESSAGE("@bob:b"), {{"m.room.member", "@bob:b", "@mod:a", "{\"membership\":\"invite\"}"}}},
    {"6 left", 1, 12, "not joined", MESSAGE("@bob:b"), {{"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"leave\"}"}}},
    {"6 banned", 1, 12, "not joined", MESSAGE("@bob:b"), {{"m.room.member", "@bob:b", "@mod:a", "{\"membership\":\"ban\"}"}}},
    {"6 a creator who left",
     12,
     12,
     "not joined",
     NAME("@alice:a"),
     {{"m.room.member", "@alice:a", "@alice:a", "{\"membership\":\"leave\"}"}}},
    {"7 third-party invite, invite level met", 1, 12, NULL, {"m.room.third_party_invite", "t", "@bob:b", "{}"}},
    {"7 third-party invite needs no state_default",
     10,
     12,
     NULL,
     {"m.room.third_party_invite", "t", "@bob:b", "{}"},
     {LEVELS("{\"state_default\":100}")}},
    {"7 third-party invite, invite level missed",
     1,
     12,
     "invite level",
     {"m.room.third_party_invite", "t", "@bob:b", "{}"},
     {LEVELS("{\"invite\":1}")}},
    {"8 events_default is 0", 1, 12, NULL, MESSAGE("@bob:b")},
    {"8 state_default is 50", 1, 12, NULL, NAME("@mod:a")},
    {"8 state_default is 50, missed", 1, 12, "event type", NAME("@bob:b")},
    {"8 state_default is 50 without levels", 1, 12, "event type", NAME("@mod:a"), {LEVELS(NULL)}},
    {"8 a creator without levels", 1, 12, NULL, NAME("@alice:a"), {LEVELS(NULL)}},
    {"8 the creator is out of the levels", 1, 11, "event type", NAME("@alice:a"), {LEVELS("{}")}},
    {"8 a creator of 12 needs no levels", 12, 12, NULL, NAME("@alice:a"), {LEVELS("{\"state_default\":9007199254740991}")}},
    {"8 an additional creator",
     12,
     12,
     NULL,
     NAME("@bob:b"),
     {CREATE("@alice:a", "{\"additional_creators\":[\"@bob:b\"]}"), LEVELS("{\"state_default\":100}")}},
    {"8 additional creators mean nothing before 12",
     11,
     11,
     "event type",
     NAME("@bob:b"),
     {CREATE("@alice:a", "{\"additional_creators\":[\"@bob:b\"]}")}},
    {"8 creator in the content means nothing since 11",
     11,
     12,
     "event type",
     NAME("@bob:b"),
     {CREATE("@alice:a", "{\"creator\":\"@bob:b\"}"), LEVELS(NULL)}},
    {"8 creator in the content counts before 11",
     1,
     10,
     NULL,
     NAME("@bob:b"),
     {CREATE("@alice:a", "{\"creator\":\"@bob:b\"}"), LEVELS(NULL)}},
    {"8 events_default", 1, 12, "event type", MESSAGE("@bob:b"), {LEVELS("{\"events_default\":1}")}},
    {"8 users_default", 1, 12, NULL, MESSAGE("@bob:b"), {LEVELS("{\"events_default\":1,\"users_default\":1}")}},
    {"8 events by type", 1, 12, NULL, NAME("@bob:b"), {LEVELS("{\"events\":{\"m.room.name\":0}}")}},
    {"8 events by type, missed",
     1,
     12,
     "event type",
     MESSAGE("@mod:a"),
     {LEVELS("{\"users\":{\"@mod:a\":50},\"events\":{\"m.room.message\":51}}")}},
    {"8 negative power", 1, 12, "event type", MESSAGE("@bob:b"), {LEVELS("{\"users\":{\"@bob:b\":-1}}")}},
    {"9 own state_key", 1, 12, NULL, {"x", "@mod:a", "@mod:a", "{}"}},
    {"9 another's state_key", 1, 12, "another user", {"x", "@bob:b", "@mod:a", "{}"}},
    {"9 even for a creator", 12, 12, "another user", {"x", "@bob:b", "@alice:a", "{}"}},
    {"9 an @ alone", 1, 12, "another user", {"x", "@", "@mod:a", "{}"}},
    {"9 another state_key", 1, 12, NULL, {"x", "bob", "@mod:a", "{}"}},
    {"redaction needs no redact level since 3", 3, 12, NULL, {"m.room.redaction", NULL, "@bob:b", "{}"}},
    {"redaction by type's level",
     1,
     12,
     "event type",
     {"m.room.redaction", NULL, "@bob:b", "{}"},
     {LEVELS("{\"events\":{\"m.room.redaction\":1}}")}},
    {"redaction with the redact level", 1, 2, NULL, {"m.room.redaction", NULL, "@mod:a", "{}"}},
    {"redaction without the redact level", 1, 2, "redact level", {"m.room.redaction", NULL, "@bob:b", "{}"}},
};

static void test_create(void **unused)
{
    RUN_RULE_CASES(create_rules);
}

static void test_common(void **unused)
{
    RUN_RULE_CASES(common_rules);
}

static enum fault judge(struct arena *arena, const struct event *event)
{
    struct test_state state = test_state_base(arena, event->version);
    struct event_list_view view = event_list_view(state.events, state.count);
    const char *why;
    return auth_check_state(arena, event, &view.view, &why);
}

/* 1.2 of version 12: the event must not carry the field, though struct event always knows the room. */
static void test_create_with_room_id(void **unused)
{
    struct arena *arena = arena_create(1 << 20);
    const struct room_version *version = test_version(12);
    struct event *event = test_event(arena, version, "$create", (struct event_line){"m.room.create", "", "@alice:a", "{}"});
    assert_int_equal(judge(arena, event), FAULT_OK);
    event->json = test_json(arena, version, "{\"room_id\":\"!create\"}");
    assert_int_equal(judge(arena, event), FAULT_REJECTED);
    arena_destroy(&arena);
}

/* 11.2 of versions 1 and 2: by the domain of the two event ids. */
static void test_redaction_of_own_server(void **unused)
{
    for (int number = 1; number <= 2; number++) {
        struct arena *arena = arena_create(1 << 20);
        struct event *event =
            test_event(arena, test_version(number), "$redaction:b", (struct event_line){"m.room.redaction", NULL, "@bob:b", "{}"});
        event->redacts = SLICE("$message:b");
        assert_int_equal(judge(arena, event), FAULT_OK);
        event->redacts = SLICE("$message:a");
        assert_int_equal(judge(arena, event), FAULT_REJECTED);
        event->redacts = SLICE_ABSENT;
        assert_int_equal(judge(arena, event), FAULT_REJECTED);
        arena_destroy(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_common),
        cmocka_unit_test(test_create_with_room_id),
        cmocka_unit_test(test_redaction_of_own_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
