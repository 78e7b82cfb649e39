/* Filters of /sync: up to the first line break the filter, after it an event. What event_fields leaves of an event is a part of it,
 * and nothing more is cut from that. */
#include <string.h>

#include "lib/base/ensure.h"
#include "workers/sync/filter.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fields(struct arena *arena, const struct json *fields, const struct json *event)
{
    struct json_writer once = json_writer_in(arena), twice = json_writer_in(arena);
    sync_filter_fields(&once, arena, fields, event->span);
    struct slice left = json_done(&once);
    const struct json *part = json_parse(arena, left, JSON_LAX, NULL);
    ensure(json_is(part, JSON_OBJECT) && part->count <= event->count);
    sync_filter_fields(&twice, arena, fields, left);
    ensure(slice_eq(json_done(&twice), left));
}

static void check_part(struct arena *arena, const struct event_filter *part, const struct json *event)
{
    struct slice type = json_get_string(event, "type"), sender = json_get_string(event, "sender"),
                 room_id = json_get_string(event, "room_id");
    ensure(part->limit >= 1);
    event_filter_allows_room(part, room_id);
    if (event_filter_allows(part, type, sender, json_get_object(event, "content")))
        ensure(event_filter_allows_type(part, type) && event_filter_allows(part, type, sender, NULL));
    struct slices patterns = sync_filter_patterns(arena, part->types);
    ensure(!patterns.at == !part->types);
    for (size_t i = 0; i < patterns.len; i++)
        ensure(!memchr(patterns.at[i].at, '*', patterns.at[i].len) && !slice_has_nul(patterns.at[i]));
    sync_filter_texts(arena, part->senders);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1 << 28);
    struct slice text = slice_of(data, size), event_text = SLICE("{}");
    struct sync_filter filter;
    slice_cut(text, '\n', &text, &event_text);
    const struct json *json = json_parse(arena, text, JSON_LAX, NULL), *event = json_parse(arena, event_text, JSON_LAX, NULL);
    if (json && json_is(event, JSON_OBJECT) && sync_filter_parse(json, &filter) == FAULT_OK) {
        const struct event_filter *parts[] = {&filter.timeline,     &filter.state,    &filter.ephemeral, &filter.room_account_data,
                                              &filter.account_data, &filter.presence, &filter.rooms};
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            check_part(arena, parts[i], event);
        if (filter.event_fields)
            check_fields(arena, filter.event_fields, event);
    }
    arena_destroy(&arena);
    return 0;
}
