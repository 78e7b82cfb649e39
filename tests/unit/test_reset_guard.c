/* The reset guard: which resolutions it takes down as suspicious, and what it keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "workers/events/reset_guard.c"

/* The statements of its rows, caught. */
static struct slices stored_inputs;
static struct slice stored_settled;
static int64_t stored_least, stored_left, stored_lost;
static int trims;

struct db_result *q_state_reset_insert(struct db_batch *batch, int64_t room_nid, int64_t event_nid, int64_t found_ts,
                                       struct slices inputs, struct slice settled, int64_t least_joined, int64_t left_joined,
                                       bool power_lost)
{
    assert_int_equal(room_nid, 7);
    assert_int_equal(event_nid, 99);
    stored_inputs = inputs;
    stored_settled = settled;
    stored_least = least_joined;
    stored_left = left_joined;
    stored_lost = power_lost;
    return NULL;
}

struct db_result *q_state_reset_trim(struct db_batch *batch, int64_t room_nid)
{
    trims++;
    return NULL;
}

/* Events by number; keys: 1 power levels, 2 and 3 members, 4 a topic. */
enum { LEVELS_NEW = 10, LEVELS_OLD, LEVELS_OTHER, A_JOINS, A_RENAMES, A_LEAVES, B_JOINS, TOPIC, EVENTS_END };
static const char *const texts[EVENTS_END] = {
    [LEVELS_NEW] = "m.room.power_levels",
    [LEVELS_OLD] = "m.room.power_levels",
    [LEVELS_OTHER] = "m.room.power_levels",
    [A_JOINS] = "join",
    [A_RENAMES] = "join",
    [A_LEAVES] = "leave",
    [B_JOINS] = "join",
    [TOPIC] = "m.room.topic",
};
static int64_t nids[EVENTS_END];

struct room {
    struct arena *arena;
    struct call call;
    struct hot_room hot;
    struct pending_event pending;
    struct room_write write;
    struct map *loaded;
};

static void open_room(struct room *room)
{
    room->arena = arena_create(1 << 20);
    room->call = (struct call){.arena = room->arena};
    room->hot = (struct hot_room){.room_nid = 7, .room_id = SLICE("!r:s")};
    room->pending = (struct pending_event){.nid = 99};
    room->write = (struct room_write){.call = &room->call, .room = &room->hot, .events = &room->pending, .count = 1};
    room->loaded = map_create(room->arena);
    for (int64_t i = LEVELS_NEW; i < EVENTS_END; i++) {
        struct event *event = arena_new(room->arena, struct event);
        bool is_member = strncmp(texts[i], "m.", 2) != 0;
        nids[i] = i;
        event->type = is_member ? SLICE("m.room.member") : slice_from_cstr(texts[i]);
        event->state_key = is_member ? SLICE("@u:s") : SLICE("");
        event->content = json_parse(
            room->arena, arena_printf(room->arena, "{\"membership\":\"%s\"}", is_member ? texts[i] : "none"), JSON_LAX, NULL);
        map_put(room->loaded, slice_of(&nids[i], sizeof nids[i]), event);
    }
    trims = 0;
}

#define MAP(...) \
    { \
        (const struct state_pair[]){__VA_ARGS__}, sizeof((const struct state_pair[]){__VA_ARGS__}) / sizeof(struct state_pair) \
    }

static bool is_taken_down(struct room *room, const struct state_map disputed[2], struct state_map settled)
{
    room->write.reset = NULL;
    stored_inputs = (struct slices){NULL, 0};
    reset_guard(&room->write, disputed, 2, settled, room->loaded);
    reset_guard_add(NULL, &room->write);
    return stored_inputs.len != 0;
}

static void an_ordinary_resolution(void **state)
{
    struct room room;
    open_room(&room);
    const struct state_map disputed[2] = {MAP({1, LEVELS_NEW}, {2, A_JOINS}), MAP({1, LEVELS_OLD}, {2, A_LEAVES}, {4, TOPIC})};
    assert_false(is_taken_down(&room, disputed, (struct state_map)MAP({1, LEVELS_NEW}, {2, A_LEAVES}, {4, TOPIC})));
    assert_false(is_taken_down(&room, disputed, (struct state_map)MAP({1, LEVELS_OLD}, {2, A_JOINS})));
    arena_destroy(&room.arena);
}

static void lost_members(void **state)
{
    struct room room;
    open_room(&room);
    const struct state_map disputed[2] = {MAP({2, A_JOINS}, {3, B_JOINS}), MAP({2, A_RENAMES})};
    assert_false(is_taken_down(&room, disputed, (struct state_map)MAP({2, A_RENAMES})));
    assert_true(is_taken_down(&room, disputed, (struct state_map)MAP({2, A_LEAVES})));
    assert_int_equal(stored_least, 1);
    assert_int_equal(stored_left, 0);
    assert_false(stored_lost);
    assert_int_equal(trims, 1);
    struct state_map kept;
    assert_int_equal(stored_inputs.len, 2);
    assert_true(state_delta_decode(room.arena, stored_inputs.at[0], &kept) && state_maps_equal(kept, disputed[0]));
    assert_true(state_delta_decode(room.arena, stored_inputs.at[1], &kept) && state_maps_equal(kept, disputed[1]));
    assert_true(state_delta_decode(room.arena, stored_settled, &kept) && kept.count == 1 && kept.pairs[0].event == A_LEAVES);
    arena_destroy(&room.arena);
}

static void lost_power(void **state)
{
    struct room room;
    const struct state_map disputed[2] = {MAP({1, LEVELS_NEW}, {4, TOPIC}), MAP({1, LEVELS_OTHER})};
    open_room(&room);
    assert_true(is_taken_down(&room, disputed, (struct state_map)MAP({1, LEVELS_OLD}, {4, TOPIC})));
    assert_true(stored_lost);
    assert_true(is_taken_down(&room, disputed, (struct state_map)MAP({4, TOPIC})));
    assert_false(is_taken_down(&room, disputed, (struct state_map)MAP({1, LEVELS_OTHER})));
    arena_destroy(&room.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_resolution),
        cmocka_unit_test(lost_members),
        cmocka_unit_test(lost_power),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
