/* JSON: what parses has a canonical form that parses again to the same form, and canonical JSON is stricter than lax. */
#include "lib/base/ensure.h"
#include "lib/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool check(struct slice text, enum json_mode mode)
{
    struct arena *arena = arena_create(1 << 30);
    const char *error = NULL;
    const struct json *value = json_parse(arena, text, mode, &error);
    ensure((value == NULL) == (error != NULL));
    if (value) {
        ensure(utf8_is_valid(text));
        struct slice canonical = json_canonical(arena, value, NULL);
        const struct json *again = json_parse(arena, canonical, mode, &error);
        ensure(again != NULL);
        ensure(slice_eq(json_canonical(arena, again, NULL), canonical));
        ensure(!value->tidy || slice_eq(value->span, canonical));
        again = json_parse(arena, value->span, mode, &error);
        ensure(again && slice_eq(json_canonical(arena, again, NULL), canonical));
    }
    arena_destroy(&arena);
    return value != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    bool lax = check(text, JSON_LAX), canonical = check(text, JSON_CANONICAL);
    ensure(lax || !canonical);
    return 0;
}
