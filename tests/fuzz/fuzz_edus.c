/* EDUs of other servers: receipts as sync takes them apart. Whatever the content says, the origin speaks for its own users only,
 * and what is kept fits PostgreSQL's text. */
#include "lib/base/ensure.h"
#include "lib/matrix/ids.h"
#include "workers/sync/edu_shapes.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1 << 26);
    const struct slice origin = SLICE("a.example");
    struct receipt *receipts = arena_new_array(arena, RECEIPTS_MAX, struct receipt);
    size_t count = edu_receipts(origin, json_parse(arena, slice_of(data, size), JSON_LAX, NULL), receipts);
    ensure(count <= RECEIPTS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct receipt *receipt = &receipts[i];
        ensure(slice_eq(id_server_name(receipt->user_id), origin) && event_id_is_valid(receipt->event_id));
        ensure(room_id_is_valid(receipt->room_id) && receipt->thread_id.len <= 255);
        ensure(!slice_has_nul(receipt->room_id) && !slice_has_nul(receipt->event_id) && !slice_has_nul(receipt->thread_id));
        ensure(json_is(json_parse(arena, receipt->data, JSON_LAX, NULL), JSON_OBJECT));
    }
    arena_destroy(&arena);
    return 0;
}
