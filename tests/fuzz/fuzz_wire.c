/* What a broken or hostile process puts on the bus around the messages (those are fuzz_message's): the header, and the payload of
 * STREAM_event. The first byte chooses. What reads well is written again and reads the same. */
#include "lib/base/ensure.h"
#include "lib/kit/stream.h"
#include "lib/kit/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_header(struct slice frame)
{
    struct wire_header header, again;
    uint8_t bytes[WIRE_HEADER_BYTES], twice[WIRE_HEADER_BYTES];
    if (!wire_header_read(frame, &header))
        return;
    ensure(header.major == WIRE_MAJOR || header.type == WIRE_HELLO);
    wire_header_write(bytes, &header);
    ensure(wire_header_read(slice_of(bytes, sizeof bytes), &again));
    wire_header_write(twice, &again);
    ensure(!memcmp(bytes, twice, sizeof bytes));
    ensure(header.message == again.message && header.correlation == again.correlation && header.timeout_ms == again.timeout_ms &&
           header.lane == again.lane && header.caller_rank == again.caller_rank && header.fault == again.fault);
}

static void try_stream_event(struct arena *arena, struct slice payload)
{
    struct stream_event event, again;
    if (!stream_event_unpack(arena, payload, &event))
        return;
    struct slice packed = stream_event_pack(arena, &event);
    ensure(stream_event_unpack(arena, packed, &again) && slice_eq(packed, stream_event_pack(arena, &again)));
    ensure(event.event_nid == again.event_nid && slice_eq(event.json, again.json) &&
           event.destinations.len == again.destinations.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct arena *arena = arena_create(1 << 26);
    if (data[0] & 1)
        try_stream_event(arena, slice_of(data + 1, size - 1));
    else
        try_header(slice_of(data + 1, size - 1));
    arena_destroy(&arena);
    return 0;
}
