/* Rooms for the tests of the rules: events made of a line each, without hashes and signatures, which the rules do not look at.
 * Shared by test_auth_rules*.c, test_power_levels.c and test_state_res*.c. */
#ifndef MYELIN_TESTS_UNIT_TEST_AUTH_RULES_ROOM_H
#define MYELIN_TESTS_UNIT_TEST_AUTH_RULES_ROOM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/matrix/auth_rules.h"

/* state_key NULL: a message event. content NULL (in a list of state): the state has no such event. */
struct event_line {
    const char *type, *state_key, *sender, *content;
};

#define ROOM_CREATE_ID "$create"

static inline const struct json *test_json(struct arena *arena, const struct room_version *version, const char *text)
{
    const char *error = "";
    const struct json *json =
        json_parse(arena, slice_from_cstr(text), version->strict_canonical_json ? JSON_CANONICAL : JSON_LAX, &error);
    if (!json)
        fail_msg("%s: %s", error, text);
    return json;
}

static inline struct slices test_slices(struct arena *arena, size_t count, const char *const *texts)
{
    struct slice *list = arena_new_array(arena, count, struct slice);
    for (size_t i = 0; i < count; i++)
        list[i] = slice_from_cstr(texts[i]);
    return (struct slices){list, count};
}

static inline struct event *test_event(struct arena *arena, const struct room_version *version, const char *event_id,
                                       struct event_line line)
{
    bool is_create = strcmp(line.type, "m.room.create") == 0;
    struct event *event = arena_new(arena, struct event);
    *event = (struct event){
        .version = version,
        .event_id = slice_from_cstr(event_id),
        .room_id = version->room_id_is_create_hash ? SLICE("!create") : SLICE("!room:a"),
        .type = slice_from_cstr(line.type),
        .state_key = slice_from_cstr(line.state_key),
        .sender = slice_from_cstr(line.sender),
        .prev_events = test_slices(arena, is_create ? 0 : 1, (const char *[]){"$before"}),
        .content = test_json(arena, version, line.content),
    };
    event->json = test_json(arena, version, is_create && version->room_id_is_create_hash ? "{}" : "{\"room_id\":\"!room:a\"}");
    return event;
}

static inline const struct room_version *test_version(int number)
{
    char id[16];
    snprintf(id, sizeof id, "%d", number);
    const struct room_version *version = room_version_find(slice_from_cstr(id));
    assert_non_null(version);
    return version;
}

/* The state of a room of Alice's: she created it, Mod has power 50, Bob has none, Zoe (of server z) is joined too. */
enum { ROOM_STATE_MAX = 32 };
struct test_state {
    const struct event *events[ROOM_STATE_MAX];
    size_t count;
};

static inline void test_state_put(struct arena *arena, const struct room_version *version, struct test_state *state,
                                  struct event_line line)
{
    size_t at = 0;
    while (at < state->count && !event_is_state_of(state->events[at], line.type, slice_from_cstr(line.state_key)))
        at++;
    if (!line.content) {
        if (at < state->count)
            state->events[at] = state->events[--state->count];
        return;
    }
    char *event_id = arena_cstr(arena, arena_printf(arena, "$s%zu", at));
    assert_true(at < ROOM_STATE_MAX);
    state->events[at] = test_event(arena, version, strcmp(line.type, "m.room.create") ? event_id : ROOM_CREATE_ID, line);
    if (at == state->count)
        state->count++;
}

static inline struct test_state test_state_base(struct arena *arena, const struct room_version *version)
{
    const struct event_line lines[] = {
        {"m.room.create", "", "@alice:a", version->implicit_room_creator ? "{}" : "{\"creator\":\"@alice:a\"}"},
        {"m.room.member", "@alice:a", "@alice:a", "{\"membership\":\"join\"}"},
        {"m.room.power_levels", "", "@alice:a",
         version->privileged_creators ? "{\"users\":{\"@mod:a\":50}}" : "{\"users\":{\"@alice:a\":100,\"@mod:a\":50}}"},
        {"m.room.join_rules", "", "@alice:a", "{\"join_rule\":\"invite\"}"},
        {"m.room.member", "@mod:a", "@mod:a", "{\"membership\":\"join\"}"},
        {"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"join\"}"},
        {"m.room.member", "@zoe:z", "@zoe:z", "{\"membership\":\"join\"}"},
    };
    struct test_state state = {.count = 0};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        test_state_put(arena, version, &state, lines[i]);
    return state;
}

/* One rule and one way to meet or break it, for the versions from … to. */
struct rule_case {
    const char *name;
    int from, to;
    const char *rejected; /* a part of the reason; NULL: allowed */
    struct event_line event;
    struct event_line state[6]; /* put over the base */
    const char *prev[3];        /* prev_events, when they matter */
};

/* Rules may look at nothing but what the auth events selection names, and at the create event. */
struct watching_view {
    struct state_view view;
    const struct test_state *state;
    const struct event *judged;
};
static inline const struct event *watching_get(const struct state_view *view, const char *type, struct slice state_key)
{
    const struct watching_view *watching = (const struct watching_view *)view;
    struct state_need needs[STATE_NEEDS_MAX];
    size_t count = auth_needs(watching->judged, needs);
    bool is_needed = strcmp(type, "m.room.create") == 0;
    for (size_t i = 0; i < count; i++)
        is_needed = is_needed || (strcmp(needs[i].type, type) == 0 && slice_eq(needs[i].state_key, state_key));
    /* Someone who is not among the needs is asked for when content is malformed; then he is not to be found by anybody. */
    if (!is_needed)
        fail_msg("looked at %s %.*s, which the auth events selection does not name", type, PRI(state_key));
    for (size_t i = 0; i < watching->state->count; i++)
        if (event_is_state_of(watching->state->events[i], type, state_key))
            return watching->state->events[i];
    return NULL;
}

static inline void run_rule_case(const struct rule_case *rule, int number)
{
    struct arena *arena = arena_create(1 << 20);
    const struct room_version *version = test_version(number);
    struct test_state state = test_state_base(arena, version);
    for (size_t i = 0; i < sizeof rule->state / sizeof *rule->state && rule->state[i].type; i++)
        test_state_put(arena, version, &state, rule->state[i]);
    struct event *event = test_event(arena, version, "$event", rule->event);
    size_t prev_count = 0;
    while (prev_count < 3 && rule->prev[prev_count])
        prev_count++;
    if (prev_count)
        event->prev_events = test_slices(arena, prev_count, rule->prev);

    struct watching_view view = {{.get = watching_get}, &state, event};
    const char *why = "";
    enum fault fault = auth_check_state(arena, event, &view.view, &why);
    if (!rule->rejected && fault)
        fail_msg("%s, version %d: rejected: %s", rule->name, number, why);
    if (rule->rejected && !fault)
        fail_msg("%s, version %d: allowed", rule->name, number);
    if (rule->rejected && !strstr(why, rule->rejected))
        fail_msg("%s, version %d: rejected for another reason: %s", rule->name, number, why);
    arena_destroy(&arena);
}

static inline void run_rule_cases(const struct rule_case *rules, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (int number = rules[i].from; number <= rules[i].to; number++)
            run_rule_case(&rules[i], number);
}
#define RUN_RULE_CASES(rules) run_rule_cases(rules, sizeof(rules) / sizeof *(rules))

#endif
