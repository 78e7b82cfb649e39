/* Stripped state; see stripped.h. */
#include "workers/federation/stripped.h"

#include "lib/store/render.h"

static const char *const shown[] = {"m.room.create",    "m.room.name",       "m.room.avatar",
                                    "m.room.topic",     "m.room.join_rules", "m.room.canonical_alias",
                                    "m.room.encryption"};

enum fault stripped_state(struct call *call, int64_t room_nid, struct slice *out)
{
    struct event_rows rows;
    enum fault fault = current_state_events(call, room_nid, &rows);
    if (fault)
        return fault;
    struct json_writer w = json_writer_in(call->arena);
    json_begin_array(&w);
    for (size_t i = 0; i < rows.count; i++) {
        for (size_t k = 0; k < sizeof shown / sizeof shown[0]; k++) {
            if (rows.at[i].state_key.len || !slice_eq(rows.at[i].type, slice_from_cstr(shown[k])))
                continue;
            if (k == 0)
                json_add_raw(&w, rows.at[i].json);
            else
                event_render_stripped(&w, event_row_parse(call->arena, &rows.at[i]));
        }
    }
    json_end_array(&w);
    *out = json_done(&w);
    return FAULT_OK;
}
