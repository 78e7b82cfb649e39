/* Stripped state; see stripped.h. */
#include "workers/federation/stripped.h"

#include "workers/federation/pdu_check.h"
#include "workers/federation/queries.h"

enum fault stripped_state(struct call *call, const struct room_facts *room, struct slice *out)
{
    static const struct slice shown[] = {{"m.room.create", 13},    {"m.room.name", 11},       {"m.room.avatar", 13},
                                         {"m.room.topic", 12},     {"m.room.join_rules", 17}, {"m.room.canonical_alias", 22},
                                         {"m.room.encryption", 17}};
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_stripped_events(batch, room->room_nid, (struct slices){shown, sizeof shown / sizeof shown[0]});
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    struct json_writer w = json_writer_in(call->arena);
    struct stripped_events_row row;
    json_begin_array(&w);
    while (stripped_events_next(result, &row))
        json_add_raw(&w, event_for_servers(call->arena, room->room_version, row.json, row.is_redacted));
    json_end_array(&w);
    *out = json_done(&w);
    return FAULT_OK;
}

/* Servers older than version 1.16 of the specification give {type, state_key, sender, content} only. */
static bool is_bare(const struct json *entry)
{
    return json_is(entry, JSON_OBJECT) && !json_get_cstr(entry, "hashes") && !json_get_cstr(entry, "signatures");
}

enum fault stripped_check(struct call *call, const struct room_version *version, struct slice room_id, const struct json *list,
                          const char **why)
{
    *why = NULL;
    if (!version->room_id_is_create_hash)
        return FAULT_OK;
    size_t room = list ? list->count : 0, count = 0;
    struct checked_pdu *pdus = arena_new_array(call->arena, room, struct checked_pdu);
    json_each (entry, list)
        if (!is_bare(entry))
            pdus[count++] = (struct checked_pdu){.version = version, .text = entry->span};
    enum fault fault = pdus_check(call, pdus, count);
    bool create = false;
    for (size_t i = 0; i < count && !fault && !*why; i++) {
        if (pdus[i].fault)
            *why = pdus[i].why ? pdus[i].why : "invite_room_state has an entry that is no event";
        else if (!slice_eq(pdus[i].event->room_id, room_id))
            *why = "invite_room_state has an event of another room";
        else
            create |= event_is_state_of(pdus[i].event, "m.room.create", SLICE(""));
    }
    if (!fault && !*why && !create)
        *why = "invite_room_state lacks m.room.create";
    return fault;
}
