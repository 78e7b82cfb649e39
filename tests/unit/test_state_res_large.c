/* A large room that forked: many members, a long chain of power levels, and three branches that each banned, admitted and named
 * something. Checked is what must come out; the time is printed, not judged. MYELIN_MEMBERS=… sets the size. */
#include <time.h>

#include "tests/unit/test_auth_rules_room.h"

#include "lib/matrix/state_res.h"

enum { BRANCHES = 3, BRANCH_EVENTS = 200, MEMBERS_PER_LEVELS = 100, SPARE_EVENTS = 4096 };
enum { KEY_CREATE = 1, KEY_LEVELS, KEY_RULES, KEY_TOPIC, KEY_FIRST_MEMBER = 16 };

struct large_room {
    struct arena *arena;
    const struct room_version *version;
    struct auth_graph_node *nodes;
    uint32_t count;
    uint32_t create, levels, rules, alice;
    int members;
};

static uint32_t add(struct large_room *room, struct event_line line, int64_t key, const uint32_t *auth, uint32_t auth_count)
{
    char *id = arena_cstr(room->arena, arena_printf(room->arena, "$%08x", room->count * 2654435761u));
    struct event *event = test_event(room->arena, room->version, id, line);
    event->origin_server_ts = room->count;
    event->depth = room->count + 1;
    uint32_t *copy = arena_new_array(room->arena, auth_count + 1, uint32_t), copied = 0;
    for (; copied < auth_count; copied++)
        copy[copied] = auth[copied];
    if (room->count && !room->version->room_id_is_create_hash)
        copy[copied++] = room->create;
    room->nodes[room->count] = (struct auth_graph_node){event, copy, copied, key};
    return room->count++;
}

static char *user(struct large_room *room, int number)
{
    return arena_cstr(room->arena, arena_printf(room->arena, "@member%d:server%d.example", number, number % 97));
}

static uint32_t add_levels(struct large_room *room, uint32_t before, uint32_t number)
{
    char *content = arena_cstr(
        room->arena, arena_printf(room->arena, "{\"ban\":50,\"events\":{\"x\":%u},\"users\":{\"@alice:a\":100}}", number % 100));
    uint32_t auth[] = {before, room->alice};
    return add(room, (struct event_line){"m.room.power_levels", "", "@alice:a", content}, KEY_LEVELS, auth, 2);
}

static void build(struct large_room *room, struct state_entry *state, size_t *state_count)
{
    struct event_line create = {"m.room.create", "", "@root:a", "{\"creator\":\"@root:a\"}"};
    struct event_line root = {"m.room.member", "@root:a", "@root:a", "{\"membership\":\"join\"}"};
    struct event_line rules = {"m.room.join_rules", "", "@root:a", "{\"join_rule\":\"public\"}"};
    struct event_line first_levels = {"m.room.power_levels", "", "@root:a", "{\"users\":{\"@alice:a\":100}}"};
    struct event_line alice = {"m.room.member", "@alice:a", "@alice:a", "{\"membership\":\"join\"}"};
    room->create = add(room, create, KEY_CREATE, NULL, 0);
    uint32_t first = add(room, root, 5, NULL, 0);
    room->nodes[first].event->prev_events.at = &room->nodes[room->create].event->event_id;
    room->rules = add(room, rules, KEY_RULES, &first, 1);
    room->levels = add(room, first_levels, KEY_LEVELS, &first, 1);
    uint32_t joining[] = {room->levels, room->rules};
    room->alice = add(room, alice, 6, joining, 2);

    for (int m = 0; m < room->members; m++) {
        if (m % MEMBERS_PER_LEVELS == 0)
            room->levels = add_levels(room, room->levels, (uint32_t)m);
        char *id = user(room, m);
        uint32_t auth[] = {room->levels, room->rules};
        uint32_t joined =
            add(room, (struct event_line){"m.room.member", id, id, "{\"membership\":\"join\"}"}, KEY_FIRST_MEMBER + m, auth, 2);
        state[5 + m] = (struct state_entry){KEY_FIRST_MEMBER + m, joined};
    }
    state[0] = (struct state_entry){KEY_CREATE, room->create};
    state[1] = (struct state_entry){KEY_LEVELS, room->levels};
    state[2] = (struct state_entry){KEY_RULES, room->rules};
    state[3] = (struct state_entry){5, first};
    state[4] = (struct state_entry){6, room->alice};
    *state_count = 5 + (size_t)room->members;
}

/* A branch changes the levels, bans some members and lets others change their names. Member m of branch b is number m * 3 + b,
 * so the branches do not meet but in the power levels. */
static void branch(struct large_room *room, int number, struct state_entry *state)
{
    uint32_t levels = add_levels(room, room->levels, 50u + (uint32_t)number);
    state[1].event = levels;
    for (int m = 0; m < BRANCH_EVENTS && m * BRANCHES + number < room->members; m++) {
        int member = m * BRANCHES + number;
        struct state_entry *entry = &state[5 + member];
        char *id = user(room, member);
        uint32_t by_alice[] = {levels, room->alice, entry->event}, by_self[] = {levels, room->rules, entry->event};
        struct event_line ban = {"m.room.member", id, "@alice:a", "{\"membership\":\"ban\"}"};
        struct event_line rename = {"m.room.member", id, id, "{\"membership\":\"join\",\"displayname\":\"new\"}"};
        entry->event = m % 2 ? add(room, rename, entry->key, by_self, 3) : add(room, ban, entry->key, by_alice, 3);
    }
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void run(int version, int members)
{
    struct large_room room = {.arena = arena_create((size_t)1 << 32), .version = test_version(version), .members = members};
    room.nodes = arena_new_array(room.arena, (size_t)members * 2 + SPARE_EVENTS, struct auth_graph_node);
    struct state_entry *state = arena_new_array(room.arena, (size_t)members + 5, struct state_entry);
    struct state_set sets[BRANCHES], out;
    size_t count;
    build(&room, state, &count);
    for (int b = 0; b < BRANCHES; b++) {
        struct state_entry *copy = arena_new_array(room.arena, count, struct state_entry);
        memcpy(copy, state, count * sizeof *copy);
        branch(&room, b, copy);
        sets[b] = (struct state_set){copy, count};
    }
    struct auth_graph graph = {room.nodes, room.count};
    struct arena *arena = arena_create((size_t)1 << 30);
    double best = 1e9;
    for (int turn = 0; turn < 5; turn++) {
        arena_reset(arena);
        double start = now_ms();
        state_resolve(arena, room.version, &graph, sets, BRANCHES, &out);
        best = now_ms() - start < best ? now_ms() - start : best;
    }
    print_message("version %d: %u events in the auth graph, %d sets of %zu: %.2f ms, %zu KiB\n", version, room.count, BRANCHES,
                  count, best, arena_used(arena) / 1024);

    /* Each member's newest event wins, from whichever branch; of the levels the latest. */
    assert_int_equal(out.count, count);
    for (size_t i = 0; i < count; i++) {
        uint32_t newest = state[i].event;
        for (int b = 0; b < BRANCHES; b++)
            newest = sets[b].entries[i].event > newest ? sets[b].entries[i].event : newest;
        assert_int_equal(out.entries[i].key, state[i].key);
        if (version > 1)
            assert_int_equal(out.entries[i].event, newest);
    }
    arena_destroy(&arena);
    arena_destroy(&room.arena);
}

static void test_large_rooms(void **unused)
{
    const char *members = getenv("MYELIN_MEMBERS");
    static const int versions[] = {1, 10, 12};
    for (size_t v = 0; v < sizeof versions / sizeof *versions; v++)
        run(versions[v], members ? atoi(members) : 10000);
}

/* A chain of power levels as deep as a room can get: no recursion, and the mainline is walked once. */
static void test_deep_mainline(void **unused)
{
    enum { DEPTH = 20000, LATE = 2000 };
    struct large_room room = {.arena = arena_create((size_t)1 << 32), .version = test_version(11), .members = 1};
    room.nodes = arena_new_array(room.arena, DEPTH + LATE + SPARE_EVENTS, struct auth_graph_node);
    struct state_entry state[6], changed[6];
    size_t count;
    build(&room, state, &count);
    uint32_t levels = room.levels, topic = 0;
    for (uint32_t i = 0; i < DEPTH; i++)
        levels = add_levels(&room, levels, i);
    for (uint32_t i = 0; i < LATE; i++) {
        uint32_t auth[] = {levels - i, room.alice};
        topic = add(&room, (struct event_line){"m.room.topic", "", "@alice:a", "{}"}, KEY_TOPIC, auth, 2);
    }
    memcpy(changed, state, sizeof state);
    changed[1].event = levels;
    struct state_entry with_topic[6] = {changed[0], changed[1], changed[2], {KEY_TOPIC, topic}, changed[3], changed[4]};
    struct state_set sets[] = {{state, count - 1}, {with_topic, 6}}, out;
    struct auth_graph graph = {room.nodes, room.count};
    struct arena *arena = arena_create((size_t)1 << 30);
    double start = now_ms();
    state_resolve(arena, room.version, &graph, sets, 2, &out);
    print_message("version 11: %d power levels deep: %.2f ms\n", DEPTH, now_ms() - start);
    assert_int_equal(out.count, 6);
    assert_int_equal(out.entries[1].event, levels);
    assert_int_equal(out.entries[3].event, topic);
    arena_destroy(&arena);
    arena_destroy(&room.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_large_rooms), cmocka_unit_test(test_deep_mainline)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
