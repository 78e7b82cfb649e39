/* State resolution on the rooms that the algorithms are known by. Root created the room and made Alice its admin; each case
 * is a fork of that room, given as the state of each branch. */
#include "tests/unit/test_state_res_room.h"

#define PL(users) "m.room.power_levels", "", "{\"users\":{" users "}}"
#define JOIN(user) "m.room.member", user, "{\"membership\":\"join\"}"
#define A100 "\"@alice:a\":100"
#define B50 "\"@bob:b\":50"
#define C50 "\"@charlie:c\":50"

struct story_event {
    const char *id, *sender, *type, *state_key, *content, *auth; /* auth: ids; the create event is added where it belongs */
};

static const struct story_event base[] = {
    {"IMR", "@root:r", JOIN("@root:r"), ""},
    {"IPOWER0", "@root:r", PL(A100), "IMR"},
    {"IJR", "@root:r", "m.room.join_rules", "", "{\"join_rule\":\"public\"}", "IMR"},
    {"IMA", "@alice:a", JOIN("@alice:a"), "IPOWER0 IJR"},
    {"IPOWER", "@alice:a", PL(A100), "IPOWER0 IMA"},
    {"IMB", "@bob:b", JOIN("@bob:b"), "IPOWER IJR"},
    {"IMC", "@charlie:c", JOIN("@charlie:c"), "IPOWER IJR"},
};
#define BASE_STATE "CREATE IMR IPOWER IJR IMA IMB IMC "

enum { STORY_EVENTS = 10, STORY_SETS = 3 };
static const struct story {
    const char *name;
    int from, to;
    struct story_event events[STORY_EVENTS]; /* in the order of their timestamps */
    const char *sets[STORY_SETS];            /* over the base state; "-ID" takes the event's key away */
    const char *resolved;                    /* likewise */
} stories[] = {
    {"a ban beats the power the banned gives himself",
     2,
     12,
     {{"PA", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"MA", "@alice:a", JOIN("@alice:a"), "PA IMA IJR"},
      {"MB", "@alice:a", "m.room.member", "@bob:b", "{\"membership\":\"ban\"}", "PA MA IMB"},
      {"PB", "@bob:b", PL(A100 "," B50), "PA IMB"}},
     {"PA MA MB", "PB"},
     "PA MA MB"},
    {"nobody slips in past a change of the join rules",
     2,
     12,
     {{"JR", "@alice:a", "m.room.join_rules", "", "{\"join_rule\":\"private\"}", "IPOWER IMA"},
      {"ME", "@ella:e", JOIN("@ella:e"), "IPOWER IJR"}},
     {"JR", "ME"},
     "JR"},
    {"power levels of a branch that only went on",
     2,
     12,
     {{"PA", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"PB", "@bob:b", PL(A100 "," B50 ",\"@charlie:c\":49"), "PA IMB"},
      {"PC", "@alice:a", PL(A100 "," B50 ",\"@charlie:c\":0"), "PB IMA"}},
     {"PC", "PA"},
     "PC"},
    {"the topic of who kept his power",
     2,
     12,
     {{"T1", "@alice:a", "m.room.topic", "", "{}", "IPOWER IMA"},
      {"PA1", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"T2", "@alice:a", "m.room.topic", "", "{}", "PA1 IMA"},
      {"PA2", "@alice:a", PL(A100 ",\"@bob:b\":0"), "PA1 IMA"},
      {"PB", "@bob:b", PL(A100 "," B50), "PA1 IMB"},
      {"T3", "@bob:b", "m.room.topic", "", "{}", "PB IMB"}},
     {"PA2 T2", "PB T3"},
     "PA2 T2"},
    {"the topic of who was banned",
     2,
     12,
     {{"T1", "@alice:a", "m.room.topic", "", "{}", "IPOWER IMA"},
      {"PA", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"T2", "@bob:b", "m.room.topic", "", "{}", "PA IMB"},
      {"MB", "@alice:a", "m.room.member", "@bob:b", "{\"membership\":\"ban\"}", "PA IMA IMB"}},
     {"PA T2 MB", "T1"},
     "PA T1 MB"},
    {"topics are in the order of the mainline, not of time",
     2,
     11,
     {{"PA1", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"PA2", "@alice:a", PL(A100 "," B50), "PA1 IMA"},
      {"T3", "@bob:b", "m.room.topic", "", "{}", "PA2 IMB"},
      {"PB", "@bob:b", PL(A100 "," B50), "PA1 IMB"},
      {"T4", "@alice:a", "m.room.topic", "", "{}", "PA1 IMA"}},
     {"PA2 T3", "PA2 T4"},
     "PA2 T3"},
    {"in 2.1 a power level nobody disputes makes no mainline, so time decides",
     12,
     12,
     {{"PA1", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"PA2", "@alice:a", PL(A100 "," B50), "PA1 IMA"},
      {"T3", "@bob:b", "m.room.topic", "", "{}", "PA2 IMB"},
      {"T4", "@alice:a", "m.room.topic", "", "{}", "PA2 IMA"}},
     {"PA2 T3", "PA2 T4"},
     "PA2 T4"},
    {"topics on disputed power levels are in the order of the mainline",
     2,
     12,
     {{"PA1", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"PA2", "@alice:a", PL(A100 "," B50), "PA1 IMA"},
      {"T3", "@bob:b", "m.room.topic", "", "{}", "PA2 IMB"},
      {"T4", "@alice:a", "m.room.topic", "", "{}", "PA1 IMA"}},
     {"PA2 T3", "PA1 T4"},
     "PA2 T3"},
    {"the offspring of lost power is lost too",
     2,
     12,
     {{"PA", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"T1", "@alice:a", "m.room.topic", "", "{}", "PA IMA"},
      {"PB", "@bob:b", PL(A100 "," B50 "," C50), "PA IMB"},
      {"T3", "@charlie:c", "m.room.topic", "", "{}", "PB IMC"},
      {"N3", "@charlie:c", "m.room.name", "", "{}", "PB IMC"},
      {"PA2", "@alice:a", PL(A100), "PA IMA"}},
     {"PA2 T1", "PB T3 N3"},
     "PA2 T1"},
    {"the stronger of two kicks goes first",
     2,
     12,
     {{"PA", "@alice:a", PL(A100 "," B50 ",\"@charlie:c\":75"), "IPOWER IMA"},
      {"MC", "@charlie:c", "m.room.member", "@bob:b", "{\"membership\":\"leave\"}", "PA IMC IMB"},
      {"T", "@bob:b", "m.room.topic", "", "{}", "PA IMB"}},
     {"PA MC", "PA T"},
     "PA MC"},
    {"three branches",
     2,
     12,
     {{"PA", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"PB", "@bob:b", PL(A100 "," B50 ",\"@charlie:c\":25"), "PA IMB"},
      {"JR", "@alice:a", "m.room.join_rules", "", "{\"join_rule\":\"invite\"}", "IPOWER IMA"},
      {"ME", "@ella:e", JOIN("@ella:e"), "IPOWER IJR"}},
     {"PB", "JR", "ME"},
     "PB JR"},
    /* MSC4297, first change: a conflicted join must not be judged by join rules that came after it. */
    {"2: unconflicted join rules throw out an earlier member",
     2,
     11,
     {{"MB1", "@bob:b", JOIN("@bob:b"), "IPOWER IJR"},
      {"JR", "@alice:a", "m.room.join_rules", "", "{\"join_rule\":\"invite\"}", "IPOWER IMA"}},
     {"JR", "JR MB1"},
     "JR -IMB"},
    {"2.1: starting from empty state keeps the earlier member",
     12,
     12,
     {{"MB1", "@bob:b", JOIN("@bob:b"), "IPOWER IJR"},
      {"JR", "@alice:a", "m.room.join_rules", "", "{\"join_rule\":\"invite\"}", "IPOWER IMA"}},
     {"JR", "JR MB1"},
     "JR MB1"},
    /* MSC4297, second change: P2 is in the auth chain of both branches (through N), so it is not in the auth difference. */
    {"2: power levels fall back, as the event between is not replayed",
     2,
     11,
     {{"P2", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"N", "@bob:b", "m.room.name", "", "{}", "P2 IMB"},
      {"P3", "@bob:b", PL(A100 "," B50 ",\"@charlie:c\":25"), "P2 IMB"}},
     {"IPOWER N", "P3 N"},
     "IPOWER N"},
    {"2.1: the conflicted state subgraph replays the event between",
     12,
     12,
     {{"P2", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"N", "@bob:b", "m.room.name", "", "{}", "P2 IMB"},
      {"P3", "@bob:b", PL(A100 "," B50 ",\"@charlie:c\":25"), "P2 IMB"}},
     {"IPOWER N", "P3 N"},
     "P3 N"},
    /* Version 1: depth is the place in the list of events here. */
    {"1: the deepest topic that is allowed",
     1,
     1,
     {{"T1", "@alice:a", "m.room.topic", "", "{}", "IPOWER IMA"}, {"T2", "@bob:b", "m.room.topic", "", "{}", "IPOWER IMB"}},
     {"T1", "T2"},
     "T1"},
    {"1: power levels in the order of depth",
     1,
     1,
     {{"PA", "@alice:a", PL(A100 "," B50), "IPOWER IMA"},
      {"PB", "@bob:b", PL(A100 "," B50 ",\"@charlie:c\":25"), "PA IMB"},
      {"PC", "@charlie:c", PL(A100), "PB IMC"}},
     {"PA", "PB", "PC"},
     "PB"},
    {"1: join rules before members",
     1,
     1,
     {{"ME1", "@ella:e", JOIN("@ella:e"), "IPOWER IJR"},
      {"ME2", "@ella:e", "m.room.member", "@ella:e", "{\"membership\":\"join\",\"displayname\":\"E\"}", "IPOWER IJR ME1"},
      {"JR", "@alice:a", "m.room.join_rules", "", "{\"join_rule\":\"invite\"}", "IPOWER IMA"}},
     {"JR ME1", "ME2"},
     "JR ME2"},
    {"1: what only one side has is no conflict",
     1,
     1,
     {{"T", "@alice:a", "m.room.topic", "", "{}", "IPOWER IMA"}, {"N", "@alice:a", "m.room.name", "", "{}", "IPOWER IMA"}},
     {"T", "N"},
     "T N"},
    {"1: a member's state when nothing is allowed",
     1,
     1,
     {{"T1", "@bob:b", "m.room.topic", "", "{}", "IPOWER IMB"}, {"T2", "@bob:b", "m.room.topic", "", "{}", "IPOWER IMB"}},
     {"T1", "T2"},
     "T1"},
};

static int find_event(const struct test_graph *graph, struct slice id)
{
    for (uint32_t i = 0; i < graph->count; i++)
        if (slice_eq(slice_sub(graph->nodes[i].event->event_id, 1, 255), id))
            return (int)i;
    fail_msg("no event %.*s", PRI(id));
    return NO_EVENT;
}

static bool next_word(struct slice *rest, struct slice *word)
{
    while (rest->len && rest->at[0] == ' ')
        *rest = slice_sub(*rest, 1, rest->len);
    if (rest->len == 0)
        return false;
    struct slice whole = *rest;
    if (!slice_cut(whole, ' ', word, rest)) {
        *word = whole;
        *rest = SLICE("");
    }
    return true;
}

static void state_apply(const struct test_graph *graph, struct test_room_state *state, const char *ids)
{
    struct slice rest = slice_from_cstr(ids), word;
    while (next_word(&rest, &word)) {
        bool is_gone = word.at[0] == '-';
        int event = find_event(graph, is_gone ? slice_sub(word, 1, word.len) : word);
        state->event[graph->key_of[event]] = is_gone ? NO_EVENT : event;
    }
}

static void add_story_event(struct test_graph *graph, const struct story_event *told)
{
    bool is_first = graph->count == 0;
    char *id = arena_cstr(graph->arena, arena_printf(graph->arena, "$%s", told->id));
    struct event *event =
        test_event(graph->arena, graph->version, id, (struct event_line){told->type, told->state_key, told->sender, told->content});
    event->origin_server_ts = 1000 + graph->count;
    event->depth = graph->count + 1;
    if (strcmp(told->id, "IMR") == 0)
        event->prev_events = test_slices(graph->arena, 1, (const char *[]){"$CREATE"});
    uint32_t auth[16], count = 0;
    struct slice rest = slice_from_cstr(told->auth), word;
    while (next_word(&rest, &word))
        auth[count++] = (uint32_t)find_event(graph, word);
    if (!is_first && !graph->version->room_id_is_create_hash)
        auth[count++] = 0;
    test_graph_add(graph, event, auth, count);
}

static struct test_graph *story_graph(struct arena *arena, const struct story *story, int number)
{
    struct test_graph *graph = arena_new(arena, struct test_graph);
    graph->arena = arena;
    graph->version = test_version(number);
    const struct story_event create = {"CREATE", "@root:r", "m.room.create", "", "{\"creator\":\"@root:r\"}", ""};
    add_story_event(graph, &create);
    for (size_t i = 0; i < sizeof base / sizeof *base; i++)
        add_story_event(graph, &base[i]);
    for (size_t i = 0; i < STORY_EVENTS && story->events[i].id; i++)
        add_story_event(graph, &story->events[i]);
    return graph;
}

static void run_story(const struct story *story, int number)
{
    struct arena *arena = arena_create(1 << 24);
    struct test_graph *graph = story_graph(arena, story, number);
    struct test_room_state sets[STORY_SETS], expected = test_room_state_empty();
    size_t count = 0;
    for (; count < STORY_SETS && story->sets[count]; count++) {
        sets[count] = test_room_state_empty();
        state_apply(graph, &sets[count], BASE_STATE);
        state_apply(graph, &sets[count], story->sets[count]);
    }
    state_apply(graph, &expected, BASE_STATE);
    state_apply(graph, &expected, story->resolved);

    for (size_t turn = 0; turn < count; turn++) {
        struct test_room_state resolved = test_resolve(graph, sets, count);
        for (int key = 0; key < graph->key_count; key++)
            if (resolved.event[key] != expected.event[key]) {
                int got = resolved.event[key], wanted = expected.event[key];
                fail_msg("%s, version %d, %.*s/%.*s: %.*s instead of %.*s", story->name, number, PRI(graph->keys[key].type),
                         PRI(graph->keys[key].state_key), PRI(got == NO_EVENT ? SLICE("none") : graph->nodes[got].event->event_id),
                         PRI(wanted == NO_EVENT ? SLICE("none") : graph->nodes[wanted].event->event_id));
            }
        struct test_room_state first = sets[0];
        memmove(sets, sets + 1, (count - 1) * sizeof *sets);
        sets[count - 1] = first;
    }
    arena_destroy(&arena);
}

static void test_stories(void **unused)
{
    for (size_t i = 0; i < sizeof stories / sizeof *stories; i++)
        for (int number = stories[i].from; number <= stories[i].to; number++)
            run_story(&stories[i], number);
}

/* "if the auth event is not rejected": Bob's power comes from an event that was rejected, so it does not authorise his topic. */
static void test_rejected_auth_event(void **unused)
{
    static const struct story story = {
        .events = {{"PA", "@alice:a", PL(A100 "," B50), "IPOWER IMA"}, {"T", "@bob:b", "m.room.topic", "", "{}", "PA IMB"}},
    };
    for (int rejected = 0; rejected <= 1; rejected++) {
        struct arena *arena = arena_create(1 << 24);
        struct test_graph *graph = story_graph(arena, &story, 12);
        struct test_room_state sets[2] = {test_room_state_empty(), test_room_state_empty()};
        state_apply(graph, &sets[0], BASE_STATE);
        state_apply(graph, &sets[1], BASE_STATE "T");
        /* 2.1 starts from nothing, and PA itself is in conflict only through the auth difference. */
        int levels = find_event(graph, SLICE("PA")), topic = find_event(graph, SLICE("T"));
        graph->nodes[levels].event->rejected = rejected;
        struct test_room_state resolved = test_resolve(graph, sets, 2);
        assert_int_equal(resolved.event[graph->key_of[topic]],
                         topic); /* PA was replayed: allowed by the state, whatever its flag */

        /* PA common to both auth chains: then it is only what T cites. */
        state_apply(graph, &sets[0], "T");
        sets[0].event[graph->key_of[topic]] = NO_EVENT;
        for (int i = 0; i < 2; i++)
            state_apply(graph, &sets[i], "PA");
        struct event *name = test_event(arena, graph->version, "$N", (struct event_line){"m.room.name", "", "@bob:b", "{}"});
        uint32_t n = test_graph_add(graph, name, graph->nodes[topic].auth, graph->nodes[topic].auth_count);
        for (int i = 0; i < 2; i++)
            sets[i].event[graph->key_of[n]] = (int)n;
        resolved = test_resolve(graph, sets, 2);
        assert_int_equal(resolved.event[graph->key_of[topic]], rejected ? NO_EVENT : topic);
        arena_destroy(&arena);
    }
}

static void test_nothing_to_resolve(void **unused)
{
    for (int number = 1; number <= 12; number++) {
        struct arena *arena = arena_create(1 << 24);
        struct test_graph *graph = story_graph(arena, &stories[0], number);
        struct test_room_state sets[3];
        for (int i = 0; i < 3; i++) {
            sets[i] = test_room_state_empty();
            state_apply(graph, &sets[i], BASE_STATE "PB MB");
        }
        for (size_t count = 1; count <= 3; count++) {
            struct test_room_state resolved = test_resolve(graph, sets, count);
            assert_memory_equal(&resolved, &sets[0], sizeof resolved);
        }
        struct test_room_state resolved = test_resolve(graph, sets, 0), empty = test_room_state_empty();
        assert_memory_equal(&resolved, &empty, sizeof resolved);
        arena_destroy(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_rejected_auth_event),
        cmocka_unit_test(test_nothing_to_resolve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
