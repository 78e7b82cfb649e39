/* See edu_shapes.h. */
#include "workers/sync/edu_shapes.h"

#include "lib/matrix/ids.h"

bool edu_speaks_for(struct slice origin, struct slice user_id)
{
    return user_id_is_valid(user_id) && slice_eq(id_server_name(user_id), origin) && !slice_has_nul(user_id);
}

enum { DATA_BYTES_MAX = 1024 };

/* {"ts": …, "thread_id": …}: stored as it is and shown to clients. */
static bool is_receipt_data(const struct json *data)
{
    const struct json *ts = json_get_cstr(data, "ts"), *thread_id = json_get_cstr(data, "thread_id");
    if (data && (!json_is(data, JSON_OBJECT) || data->span.len > DATA_BYTES_MAX))
        return false;
    if ((ts && !json_is(ts, JSON_INT)) || (thread_id && !json_is(thread_id, JSON_STRING)))
        return false;
    return !thread_id || (!slice_has_nul(thread_id->text) && thread_id->text.len <= MATRIX_ID_BYTES_MAX);
}

size_t edu_receipts(struct slice origin, const struct json *content, struct receipt *out)
{
    size_t count = 0;
    json_each (room, content) {
        json_each (user, json_get_object(room, "m.read")) {
            const struct json *data = json_get_cstr(user, "data"), *ids = json_get_array(user, "event_ids");
            struct slice event_id = json_string(ids ? ids->first : NULL), thread_id = json_get_string(data, "thread_id");
            if (count == RECEIPTS_MAX)
                return count;
            if (!room_id_is_valid(room->key) || slice_has_nul(room->key) || !edu_speaks_for(origin, user->key) ||
                !event_id_is_valid(event_id) || slice_has_nul(event_id) || !is_receipt_data(data))
                continue;
            out[count++] = (struct receipt){.room_id = room->key,
                                            .user_id = user->key,
                                            .type = SLICE("m.read"),
                                            .thread_id = slice_is_absent(thread_id) ? SLICE("") : thread_id,
                                            .event_id = event_id,
                                            .data = data ? data->span : SLICE("{}")};
        }
    }
    return count;
}
