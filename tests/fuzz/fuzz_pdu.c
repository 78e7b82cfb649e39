/* PDUs: the first byte chooses the room version. What parses keeps its id when it is stored, redacted and signed again. */
#include "lib/base/ensure.h"
#include "lib/matrix/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(struct arena *arena, const struct event *event, struct slice text)
{
    struct event *again = NULL;
    enum fault f = event_parse(arena, event->version, text, &again, NULL);
    ensure(f == FAULT_TOO_LARGE || f == FAULT_OK); /* signed once more it may be over the limit */
    ensure(f || (slice_eq(again->event_id, event->event_id) && slice_eq(again->room_id, event->room_id)));
    ensure(f || slice_eq(again->raw, text));
}

static void check_client_form(struct arena *arena, const struct event *event)
{
    struct json_writer w = json_writer_in(arena);
    event_for_client(&w, event, event->unsigned_data ? event->unsigned_data->span : SLICE_ABSENT);
    ensure(json_parse(arena, json_done(&w), JSON_LAX, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct room_version *version = size ? room_version_at(data[0] % 12) : NULL;
    struct arena *arena = arena_create(1 << 30);
    struct event *event;
    if (version && event_parse(arena, version, slice_of(data + 1, size - 1), &event, NULL) == FAULT_OK) {
        struct slice signers[3], redacted = event_redact(arena, version, event->json);
        ensure(event_required_signers(event, signers) <= 3);
        check_same(arena, event, event->raw);
        check_same(arena, event, redacted);
        check_same(arena, event, event_add_signature(arena, event->raw, SLICE("s"), SLICE("ed25519:1"), SLICE("sig")));
        ensure(slice_eq(event_redact(arena, version, json_parse(arena, redacted, JSON_LAX, NULL)), redacted));
        event_content_hash_matches(arena, event);
        check_client_form(arena, event);
    }
    arena_destroy(&arena);
    return 0;
}
