/* The reset guard; see reset_guard.h. */
#include "workers/events/reset_guard.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/kit/metrics.h"
#include "workers/events/queries.h"

struct reset_evidence {
    struct slices inputs; /* state deltas: what was disputed */
    struct slice settled;
    int64_t least_joined, left_joined;
    bool power_lost;
};

static const struct event *event_of(const struct map *loaded, const int64_t *nid)
{
    return map_get(loaded, slice_of(nid, sizeof *nid));
}

static int64_t joined_in(struct state_map map, const struct map *loaded)
{
    int64_t joined = 0;
    for (size_t i = 0; i < map.count; i++) {
        const struct event *event = event_of(loaded, &map.pairs[i].event);
        joined +=
            event && event_is(event, "m.room.member") && slice_eq(json_get_string(event->content, "membership"), SLICE("join"));
    }
    return joined;
}

static int64_t power_levels_in(struct state_map map, const struct map *loaded)
{
    for (size_t i = 0; i < map.count; i++) {
        const struct event *event = event_of(loaded, &map.pairs[i].event);
        if (event && event_is_state_of(event, "m.room.power_levels", SLICE("")))
            return map.pairs[i].event;
    }
    return 0;
}

/* Power levels that none of the inputs had, or none at all: older ones came back. */
static bool power_is_lost(const struct state_map *disputed, size_t count, struct state_map settled, const struct map *loaded)
{
    int64_t left = power_levels_in(settled, loaded);
    bool is_disputed = false;
    for (size_t i = 0; i < count; i++) {
        int64_t had = power_levels_in(disputed[i], loaded);
        if (had && had == left)
            return false;
        is_disputed |= had != 0;
    }
    return is_disputed;
}

void reset_guard(struct room_write *write, const struct state_map *disputed, size_t count, struct state_map settled,
                 const struct map *loaded)
{
    static struct metric *resets;
    struct arena *arena = write->call->arena;
    int64_t least = INT64_MAX, left = joined_in(settled, loaded);
    for (size_t i = 0; i < count; i++) {
        int64_t joined = joined_in(disputed[i], loaded);
        least = joined < least ? joined : least;
    }
    bool power_lost = power_is_lost(disputed, count, settled, loaded);
    if (left >= least && !power_lost)
        return;
    if (!resets)
        resets =
            metric_counter("myelin_state_resets_total", "Resolutions that left fewer members or less power than any input", NULL);
    metric_add(resets, 1);
    log_event(LOG_WARN, "a state resolution lost members or power; evidence is in state_reset",
              LOG_STR("room", write->room->room_id), LOG_I64("inputs", (int64_t)count), LOG_I64("least_joined", least),
              LOG_I64("left_joined", left), LOG_I64("power_lost", power_lost));
    struct slice *inputs = arena_new_array(arena, count, struct slice);
    for (size_t i = 0; i < count; i++)
        inputs[i] = state_delta_encode(arena, disputed[i]);
    struct reset_evidence *evidence = arena_new(arena, struct reset_evidence);
    *evidence = (struct reset_evidence){{inputs, count}, state_delta_encode(arena, settled), least, left, power_lost};
    write->reset = evidence;
}

void reset_guard_add(struct db_batch *batch, const struct room_write *write)
{
    const struct reset_evidence *evidence = write->reset;
    if (!evidence || write->count == 0)
        return;
    q_state_reset_insert(batch, write->room->room_nid, write->events[0].nid, clock_wall_ms(), evidence->inputs, evidence->settled,
                         evidence->least_joined, evidence->left_joined, evidence->power_lost);
    q_state_reset_trim(batch, write->room->room_nid);
}
