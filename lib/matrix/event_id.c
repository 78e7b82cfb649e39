/* Ids that are hashes: "Event IDs" of room versions 3 and 4, "Room IDs" of version 12. */
#include "lib/matrix/event_id.h"

enum { HASH_TEXT_LEN = 43 }; /* 32 bytes in unpadded base64 */

bool event_hash_text_is_valid(const struct room_version *version, struct slice text)
{
    const char *specials = version->event_id_format == EVENT_ID_V4 ? "-_" : "+/";
    if (version->event_id_format == EVENT_ID_V1 || text.len != HASH_TEXT_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != specials[0] && c != specials[1])
            return false;
    }
    return true;
}

static struct slice with_sigil(struct arena *arena, struct slice sigil, struct slice id)
{
    return arena_concat(arena, (struct slice[]){sigil, slice_sub(id, 1, id.len)}, 2);
}

struct slice room_id_from_create(struct arena *arena, struct slice create_event_id)
{
    return with_sigil(arena, SLICE("!"), create_event_id);
}

struct slice create_id_from_room(struct arena *arena, struct slice room_id)
{
    return with_sigil(arena, SLICE("$"), room_id);
}
