/* "Auth events selection", and the rules on an event's own auth_events. */
#include "tests/unit/test_auth_rules_room.h"

struct selection_case {
    const char *name;
    int from, to;
    struct event_line event;
    const char *needs; /* "type/state_key …" behind create, power levels and the sender's membership */
};

static const struct selection_case selections[] = {
    {"a message", 1, 12, {"m.room.message", NULL, "@bob:b", "{}"}, ""},
    {"a state event", 1, 12, {"m.room.name", "", "@bob:b", "{}"}, ""},
    {"a join", 1, 12, {"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"join\"}"}, " m.room.join_rules/"},
    {"an invite",
     1,
     12,
     {"m.room.member", "@yan:y", "@bob:b", "{\"membership\":\"invite\"}"},
     " m.room.member/@yan:y m.room.join_rules/"},
    {"a knock", 1, 12, {"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"knock\"}"}, " m.room.join_rules/"},
    {"a leave", 1, 12, {"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"leave\"}"}, ""},
    {"a ban", 1, 12, {"m.room.member", "@yan:y", "@bob:b", "{\"membership\":\"ban\"}"}, " m.room.member/@yan:y"},
    {"a third-party invite",
     1,
     12,
     {"m.room.member", "@yan:y", "@bob:b", "{\"membership\":\"invite\",\"third_party_invite\":{\"signed\":{\"token\":\"t\"}}}"},
     " m.room.member/@yan:y m.room.join_rules/ m.room.third_party_invite/t"},
    {"a join that is vouched for",
     8,
     12,
     {"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"@mod:a\"}"},
     " m.room.join_rules/ m.room.member/@mod:a"},
    {"a join that is vouched for before 8",
     1,
     7,
     {"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"@mod:a\"}"},
     " m.room.join_rules/"},
    {"a leave with a voucher",
     8,
     12,
     {"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"leave\",\"join_authorised_via_users_server\":\"@mod:a\"}"},
     ""},
    {"a member without membership", 1, 12, {"m.room.member", "@bob:b", "@bob:b", "{}"}, ""},
};

static void test_selection(void **unused)
{
    for (size_t i = 0; i < sizeof selections / sizeof *selections; i++)
        for (int number = selections[i].from; number <= selections[i].to; number++) {
            struct arena *arena = arena_create(1 << 20);
            struct event *event = test_event(arena, test_version(number), "$event", selections[i].event);
            struct state_need needs[STATE_NEEDS_MAX];
            size_t count = auth_needs(event, needs);
            struct strbuf text = strbuf_in(arena);
            for (size_t n = 0; n < count; n++)
                strbuf_printf(&text, "%s%s/%.*s", n ? " " : "", needs[n].type, PRI(needs[n].state_key));
            struct slice expected =
                arena_printf(arena, "%sm.room.power_levels/ m.room.member/%s%s", number < 12 ? "m.room.create/ " : "",
                             selections[i].event.sender, selections[i].needs);
            if (!slice_eq(strbuf_slice(&text), expected))
                fail_msg("%s, version %d: %.*s", selections[i].name, number, PRI(strbuf_slice(&text)));
            arena_destroy(&arena);
        }
}

static void test_create_needs_nothing(void **unused)
{
    struct arena *arena = arena_create(1 << 20);
    struct state_need needs[STATE_NEEDS_MAX];
    struct event *event =
        test_event(arena, test_version(11), "$create", (struct event_line){"m.room.create", "", "@alice:a", "{}"});
    assert_int_equal(auth_needs(event, needs), 0);
    assert_int_equal(auth_check_auth_events(event, NULL, 0, SLICE_ABSENT, NULL), FAULT_OK);
    arena_destroy(&arena);
}

/* What is wrong with the list of auth events. */
enum flaw {
    FLAW_NONE,
    FLAW_DUPLICATE,
    FLAW_SAME_TWICE,
    FLAW_NOT_NEEDED,
    FLAW_MESSAGE,
    FLAW_REJECTED,
    FLAW_NO_CREATE,
    FLAW_CREATE,
    FLAW_OTHER_ROOM,
    FLAW_UNKNOWN,
    FLAW_TOO_FEW,
    FLAW_NO_ROOM,
    FLAW_WRONG_ROOM,
};
static const struct flaw_case {
    const char *name;
    int from, to;
    enum flaw flaw;
    const char *rejected;
} flaws[] = {
    {"all is well", 1, 12, FLAW_NONE, NULL},
    {"3.1 two of the same type and state_key", 1, 12, FLAW_DUPLICATE, "same type and state_key"},
    {"3.1 the same event twice", 1, 12, FLAW_SAME_TWICE, "same type and state_key"},
    {"3.2 not needed", 1, 12, FLAW_NOT_NEEDED, "not among those"},
    {"3.2 no state event", 1, 12, FLAW_MESSAGE, "not among those"},
    {"3.2 create since 12", 12, 12, FLAW_CREATE, "not among those"},
    {"3.3 rejected", 1, 12, FLAW_REJECTED, "was rejected"},
    {"2.4 no create before 12", 1, 11, FLAW_NO_CREATE, "no m.room.create"},
    {"3.5 another room", 1, 12, FLAW_OTHER_ROOM, "another room"},
    {"an event we do not have", 1, 12, FLAW_UNKNOWN, "missing"},
    {"fewer events than the event names", 1, 12, FLAW_TOO_FEW, "missing"},
    {"2 no accepted create event", 12, 12, FLAW_NO_ROOM, "accepted m.room.create"},
    {"2 the create event of another room", 12, 12, FLAW_WRONG_ROOM, "accepted m.room.create"},
    {"2 before 12 nobody asks", 1, 11, FLAW_NO_ROOM, NULL},
};

static void run_flaw(const struct flaw_case *flawed, int number)
{
    struct arena *arena = arena_create(1 << 20);
    const struct room_version *version = test_version(number);
    struct event *create =
        test_event(arena, version, "$create", (struct event_line){"m.room.create", "", "@alice:a", "{\"creator\":\"@alice:a\"}"});
    struct event *levels = test_event(arena, version, "$levels", (struct event_line){"m.room.power_levels", "", "@alice:a", "{}"});
    struct event *member =
        test_event(arena, version, "$bob", (struct event_line){"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"join\"}"});
    struct event *other =
        test_event(arena, version, "$bob2", (struct event_line){"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"join\"}"});
    struct event *name = test_event(arena, version, "$name", (struct event_line){"m.room.name", "", "@bob:b", "{}"});
    struct event *message = test_event(arena, version, "$message", (struct event_line){"m.room.member", NULL, "@bob:b", "{}"});
    struct event *event = test_event(arena, version, "$event", (struct event_line){"m.room.message", NULL, "@bob:b", "{}"});

    const struct event *auth[5] = {levels, member};
    size_t count = 2;
    bool with_create = (number < 12 && flawed->flaw != FLAW_NO_CREATE) || flawed->flaw == FLAW_CREATE;
    if (with_create)
        auth[count++] = create;
    switch (flawed->flaw) {
    case FLAW_DUPLICATE:
        auth[count++] = other;
        break;
    case FLAW_SAME_TWICE:
        auth[count++] = member;
        break;
    case FLAW_NOT_NEEDED:
        auth[count++] = name;
        break;
    case FLAW_MESSAGE:
        auth[count++] = message;
        break;
    case FLAW_REJECTED:
        member->rejected = true;
        break;
    case FLAW_OTHER_ROOM:
        levels->room_id = SLICE("!other:a");
        break;
    case FLAW_UNKNOWN:
        auth[0] = NULL;
        break;
    default:
        break;
    }
    event->auth_events = test_slices(arena, count, (const char *[]){"$1", "$2", "$3", "$4", "$5"});
    if (flawed->flaw == FLAW_TOO_FEW)
        count--;
    struct slice room = flawed->flaw == FLAW_NO_ROOM      ? SLICE_ABSENT
                        : flawed->flaw == FLAW_WRONG_ROOM ? SLICE("!other")
                                                          : SLICE("!create");
    const char *why = "";
    enum fault fault = auth_check_auth_events(event, auth, count, room, &why);
    if ((fault != FAULT_OK) != (flawed->rejected != NULL) || (flawed->rejected && !strstr(why, flawed->rejected)))
        fail_msg("%s, version %d: %s", flawed->name, number, fault ? why : "allowed");
    arena_destroy(&arena);
}

static void test_auth_events(void **unused)
{
    for (size_t i = 0; i < sizeof flaws / sizeof *flaws; i++)
        for (int number = flaws[i].from; number <= flaws[i].to; number++)
            run_flaw(&flaws[i], number);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_create_needs_nothing),
        cmocka_unit_test(test_auth_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
