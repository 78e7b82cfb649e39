/* What follows from members coming and going: room summaries with their heroes, and whose device lists the client should
 * follow now or no more. One trip, only when somebody moved. */
#include "workers/sync/queries.h"
#include "workers/sync/work.h"

static bool needs_summary(const struct sync_room *room)
{
    return room->section == SECTION_JOIN && room->members_changed;
}

/* Rooms that the user himself entered or left. */
static bool is_moved(const struct sync_room *room)
{
    return room->is_new && ((room->section == SECTION_JOIN && room->newly_joined) || room->section == SECTION_LEAVE);
}

static bool has_movers(const struct sync_room *room)
{
    return room->section == SECTION_JOIN && room->members_changed && !room->newly_joined;
}

static void take_summaries(struct sync_room **rooms, struct db_result *result)
{
    struct summaries_row row;
    while (summaries_next(result, &row)) {
        struct sync_room *room = rooms[row.ordinal - 1];
        room->joined = row.joined;
        room->invited = row.invited;
        room->heroes = row.heroes;
        room->has_summary = true;
    }
}

static void take_met(struct sync_work *work, struct db_result *result)
{
    size_t most = (size_t)db_affected(result), changed = work->devices_changed.len, left = 0;
    struct slice *all = arena_new_array(work->call->arena, changed + most, struct slice),
                 *gone = arena_new_array(work->call->arena, most, struct slice);
    struct map *known = map_create(work->call->arena);
    for (size_t i = 0; i < changed; i++) {
        all[i] = work->devices_changed.at[i];
        map_put(known, all[i], NULL);
    }
    struct members_met_row row;
    while (members_met_next(result, &row)) {
        if (!row.shares)
            gone[left++] = row.user_id;
        else if (map_put(known, row.user_id, NULL))
            all[changed++] = row.user_id;
    }
    work->devices_changed = (struct slices){all, changed};
    work->devices_left = (struct slices){gone, left};
}

enum fault members_read(struct sync_work *work)
{
    struct sync_room **summed, **unused;
    struct i64s summed_nids, movers, moved;
    size_t summaries = rooms_where(work, needs_summary, &summed, &summed_nids);
    size_t movements = 0;
    if (!work->request->first)
        movements = rooms_where(work, has_movers, &unused, &movers) + rooms_where(work, is_moved, &unused, &moved);
    if (summaries + movements == 0)
        return FAULT_OK;
    struct db_result *summary = summaries ? q_summaries(work->batch, work->request->user_id, summed_nids) : NULL;
    struct db_result *met =
        movements ? q_members_met(work->batch, work->request->user_id, work->request->since.xmin, work->since, movers, moved)
                  : NULL;
    enum fault fault = db_step(work->batch);
    if (fault)
        return fault;
    if (summary)
        take_summaries(summed, summary);
    if (met)
        take_met(work, met);
    return FAULT_OK;
}
