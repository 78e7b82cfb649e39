/* State resolution against the naive model: rooms grow by random events on random forks; at each fork that is joined again, and
 * on state sets that were tampered with, both must agree, whatever the order of the sets.
 * A failure prints the seed of its room: MYELIN_SEED=… runs that room alone. MYELIN_ROOMS=… runs more of them. */
#include "tests/unit/test_state_res_model.h"
#include "tests/unit/test_state_res_model_v1.h"
#include "tests/unit/test_state_res_reduced.h"

enum { USERS = 6, EVENTS = 90, ROOMS_PER_VERSION = 25, RECENT = 12 };
static const char *const users[USERS] = {"@root:a", "@alice:a", "@bob:b", "@charlie:c", "@dora:d", "@ella:e"};

struct random_room {
    struct test_graph *graph;
    uint64_t seed, random;
    struct test_room_state after[EVENTS];
    int levels[EVENTS][USERS]; /* of power levels events; -1000: not listed */
    size_t conflicts, comparisons;
};

static uint32_t random_below(struct random_room *room, uint32_t limit)
{
    room->random ^= room->random << 13;
    room->random ^= room->random >> 7;
    room->random ^= room->random << 17;
    return (uint32_t)(room->random >> 32) % limit;
}

static void compare(struct random_room *room, const struct test_room_state *sets, size_t count)
{
    struct test_graph *graph = room->graph;
    bool is_v1 = graph->version->state_res == STATE_RES_V1;
    struct test_room_state model = is_v1 ? model_v1_resolve(graph, sets, count) : model_resolve(graph, sets, count);
    struct test_room_state real = test_resolve(graph, sets, count), again[4];
    for (int key = 0; key < graph->key_count; key++)
        if (model.event[key] != real.event[key])
            fail_msg("seed %llu, version %s, %zu sets, %.*s/%.*s: event %d, the model says %d", (unsigned long long)room->seed,
                     graph->version->id, count, PRI(graph->keys[key].type), PRI(graph->keys[key].state_key), real.event[key],
                     model.event[key]);
    struct test_room_state reduced = test_resolve_reduced(graph, sets, count);
    if (memcmp(&reduced, &real, sizeof real) != 0)
        fail_msg("seed %llu, version %s, %zu sets: what was left out was needed", (unsigned long long)room->seed,
                 graph->version->id, count);
    room->comparisons++;

    /* The order of the sets does not matter, nor does naming one twice. */
    for (size_t i = 0; i < count; i++)
        again[i] = sets[count - 1 - i];
    again[count] = sets[random_below(room, (uint32_t)count)];
    for (size_t more = 0; more <= 1; more++) {
        struct test_room_state other = test_resolve(graph, again, count + more);
        if (memcmp(&other, &real, sizeof real) != 0)
            fail_msg("seed %llu, version %s: the order of the sets matters", (unsigned long long)room->seed, graph->version->id);
    }
    /* Equal sets resolve to themselves. */
    struct test_room_state same[2] = {real, real}, resolved = test_resolve(graph, same, 2);
    if (memcmp(&resolved, &real, sizeof real) != 0)
        fail_msg("seed %llu, version %s: equal sets do not resolve to themselves", (unsigned long long)room->seed,
                 graph->version->id);
}

static const struct event *state_get(const struct random_room *room, const struct test_room_state *state, const char *type,
                                     const char *state_key)
{
    int event = state->event[test_graph_key(room->graph, slice_from_cstr(type), slice_from_cstr(state_key))];
    return event == NO_EVENT ? NULL : room->graph->nodes[event].event;
}

static const char *levels_text(struct random_room *room, const int *levels)
{
    struct strbuf out = strbuf_in(room->graph->arena);
    strbuf_add_cstr(&out, "{\"users\":{");
    bool is_first = true;
    for (int u = 0; u < USERS; u++)
        if (levels[u] != -1000) {
            strbuf_printf(&out, "%s\"%s\":%d", is_first ? "" : ",", users[u], levels[u]);
            is_first = false;
        }
    static const char *const rest[] = {"}}", "}}", "},\"state_default\":0}", "},\"users_default\":10,\"invite\":10}",
                                       "},\"kick\":0}"};
    strbuf_add_cstr(&out, rest[random_below(room, 5)]);
    return arena_cstr(room->graph->arena, strbuf_slice(&out));
}

/* What somebody tries; the rules decide. */
static struct event_line random_line(struct random_room *room, const struct test_room_state *state, int *levels)
{
    static const int steps[] = {-1000, 0, 10, 50, 50, 75, 100};
    static const char *const rules[] = {"public", "public", "invite", "knock", "restricted", "knock_restricted"};
    static const char *const memberships[] = {"leave", "ban", "invite", "leave"};
    struct arena *arena = room->graph->arena;
    const char *sender = users[random_below(room, USERS)], *target = users[random_below(room, USERS)];
    bool creator_is_listed = !room->graph->version->privileged_creators;
    switch (random_below(room, 10)) {
    case 0:
    case 1: {
        const struct event *current = state_get(room, state, "m.room.power_levels", "");
        for (int u = 0; u < USERS; u++) {
            int64_t level = -1000;
            if (current)
                json_get_i64(json_get_object(current->content, "users"), users[u], &level);
            levels[u] = u == 0 && !creator_is_listed ? -1000 : (int)level;
        }
        int changed = (int)random_below(room, USERS - 1) + 1;
        levels[changed] = steps[random_below(room, 7)];
        if (!current && creator_is_listed)
            levels[0] = 100;
        return (struct event_line){"m.room.power_levels", "",
                                   current && random_below(room, 2) ? sender : users[random_below(room, 3)],
                                   levels_text(room, levels)};
    }
    case 2:
        return (struct event_line){"m.room.join_rules", "", sender,
                                   arena_cstr(arena, arena_printf(arena, "{\"join_rule\":\"%s\"}", rules[random_below(room, 6)]))};
    case 3:
    case 4:
        return (struct event_line){
            "m.room.member", target, sender,
            arena_cstr(arena, arena_printf(arena, "{\"membership\":\"%s\"}", memberships[random_below(room, 4)]))};
    case 5:
        return (struct event_line){"m.room.member", sender, sender,
                                   random_below(room, 4) ? "{\"membership\":\"join\"}" : "{\"membership\":\"knock\"}"};
    case 6:
        return (struct event_line){
            "m.room.member", sender, sender,
            arena_cstr(arena,
                       arena_printf(arena, "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"%s\"}", target))};
    case 7:
        return (struct event_line){"m.room.name", "", sender, "{}"};
    case 8:
        return (struct event_line){"m.room.power_levels", "other", sender, "{}"};
    default:
        return (struct event_line){"m.room.topic", "", sender, "{}"};
    }
}

/* On the state: its needs become the auth events. */
static bool try_event(struct random_room *room, const struct test_room_state *state, struct event_line line, int prev)
{
    struct test_graph *graph = room->graph;
    char *id = arena_cstr(graph->arena, arena_printf(graph->arena, "$%08x", random_below(room, UINT32_MAX)));
    struct event *event = test_event(graph->arena, graph->version, id, line);
    event->origin_server_ts = 1000 + graph->count / 4 * 3 + random_below(room, 6);
    event->depth = graph->count / 4 + random_below(room, 2);
    if (prev >= 0)
        event->prev_events.at = &graph->nodes[prev].event->event_id;

    struct state_need needs[STATE_NEEDS_MAX];
    size_t need_count = auth_needs(event, needs);
    const struct event *seen[STATE_NEEDS_MAX + 1];
    uint32_t auth[STATE_NEEDS_MAX], auth_count = 0, seen_count = 0;
    for (size_t i = 0; i < need_count; i++) {
        int at = state->event[test_graph_key(graph, slice_from_cstr(needs[i].type), needs[i].state_key)];
        if (at == NO_EVENT)
            continue;
        auth[auth_count++] = (uint32_t)at;
        seen[seen_count++] = graph->nodes[at].event;
    }
    seen[seen_count++] = graph->count ? graph->nodes[0].event : NULL;
    struct event_list_view view = event_list_view(seen, seen_count);
    const char *why;
    if (auth_check_state(graph->arena, event, &view.view, &why))
        return false;
    uint32_t added = test_graph_add(graph, event, auth, auth_count);
    room->after[added] = *state;
    room->after[added].event[graph->key_of[added]] = (int)added;
    return true;
}

/* A state in which something is older, missing or rejected: what a faulty server may claim. */
static struct test_room_state tampered(struct random_room *room, struct test_room_state state)
{
    struct test_graph *graph = room->graph;
    for (uint32_t changes = random_below(room, 4); changes; changes--) {
        uint32_t event = 1 + random_below(room, graph->count - 1);
        state.event[graph->key_of[event]] = random_below(room, 4) ? (int)event : NO_EVENT;
    }
    return state;
}

static void grow(struct random_room *room)
{
    struct test_graph *graph = room->graph;
    struct test_room_state start = test_room_state_empty();
    assert_true(try_event(room, &start, (struct event_line){"m.room.create", "", users[0], "{\"creator\":\"@root:a\"}"}, -1));
    assert_true(
        try_event(room, &room->after[0], (struct event_line){"m.room.member", users[0], users[0], "{\"membership\":\"join\"}"}, 0));
    assert_true(
        try_event(room, &room->after[1], (struct event_line){"m.room.join_rules", "", users[0], "{\"join_rule\":\"public\"}"}, 1));
    assert_true(
        try_event(room, &room->after[2], (struct event_line){"m.room.member", users[1], users[1], "{\"membership\":\"join\"}"}, 2));
    for (int tries = 0; tries < 40 * EVENTS && graph->count < EVENTS; tries++) {
        struct test_room_state sets[3], state;
        uint32_t count = 1 + random_below(room, 3), recent = graph->count < RECENT ? graph->count - 3 : RECENT - 3;
        for (uint32_t i = 0; i < count; i++)
            sets[i] = room->after[graph->count - 1 - random_below(room, recent)];
        state = count == 1 ? sets[0] : test_resolve(graph, sets, count);
        if (count > 1 && tries % 8 == 0)
            compare(room, sets, count);
        int levels[USERS];
        struct event_line line = random_line(room, &state, levels);
        if (try_event(room, &state, line, 2) && random_below(room, 25) == 0)
            graph->nodes[graph->count - 1].event->rejected = true;
    }
}

static void run_room(const struct room_version *version, uint64_t seed, size_t *comparisons)
{
    struct arena *arena = arena_create((size_t)1 << 30);
    struct random_room *room = arena_new(arena, struct random_room);
    room->graph = arena_new(arena, struct test_graph);
    room->graph->arena = arena;
    room->graph->version = version;
    room->seed = seed;
    room->random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    grow(room);
    for (int i = 0; i < 30; i++) {
        struct test_room_state sets[3];
        uint32_t count = 2 + random_below(room, 2);
        for (uint32_t s = 0; s < count; s++)
            sets[s] = tampered(room, room->after[random_below(room, room->graph->count)]);
        compare(room, sets, count);
    }
    *comparisons += room->comparisons;
    arena_destroy(&arena);
}

static void test_random_rooms(void **unused)
{
    const char *chosen = getenv("MYELIN_SEED"), *rooms = getenv("MYELIN_ROOMS");
    uint64_t count = rooms ? strtoull(rooms, NULL, 10) : ROOMS_PER_VERSION;
    static const int versions[] = {1, 2, 6, 10, 11, 12};
    size_t comparisons = 0;
    for (size_t v = 0; v < sizeof versions / sizeof *versions; v++) {
        uint64_t first = chosen ? strtoull(chosen, NULL, 10) : 0;
        for (uint64_t seed = first; seed < (chosen ? first + 1 : count); seed++)
            run_room(test_version(versions[v]), seed, &comparisons);
    }
    print_message("%zu resolutions agree with the model (seeds 0 to %llu)\n", comparisons, (unsigned long long)count - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_rooms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
