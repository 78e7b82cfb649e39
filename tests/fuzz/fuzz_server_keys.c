/* A server's signed keys: whatever comes, an accepted answer has only keys of the right size, is no longer valid than a week, and
 * reads the same again from its canonical form. */
#include "lib/base/ensure.h"
#include "workers/keys/key_answer.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { NOW_MS = 1700000000 };
    struct arena *arena = arena_create(1 << 26);
    struct key_answer answer, again;
    const char *why;
    if (key_answer_read(arena, slice_of(data, size), SLICE("a.example"), NOW_MS, &answer, &why)) {
        ensure(answer.count > 0 && answer.valid_until_ts <= NOW_MS + KEY_VALID_MAX_MS);
        for (size_t i = 0; i < answer.count; i++)
            ensure(answer.keys[i].public_key.len == KEY_BYTES && answer.keys[i].key_id.len <= KEY_ID_BYTES_MAX);
        ensure(key_answer_read(arena, answer.json, SLICE("a.example"), NOW_MS, &again, &why) && again.count == answer.count);
    } else {
        ensure(why != NULL);
    }
    arena_destroy(&arena);
    return 0;
}
