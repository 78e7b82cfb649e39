/* JSON: what parses has a canonical form that parses again to the same form, and canonical JSON is stricter than lax. The spans of
 * json_spans are those of the tree. */
#include "lib/base/ensure.h"
#include "lib/base/json.h"
#include "lib/base/json_spans.h"

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

/* Each part where the tree has it; and where every part parses, only duplicate keys and depth can keep the whole from parsing. */
static void check_spans(struct slice text, enum json_type type)
{
    struct arena *arena = arena_create(1 << 30);
    struct json_spans spans;
    struct slice key = SLICE_ABSENT, value;
    const char *error = NULL;
    const struct json *whole = json_parse(arena, text, JSON_LAX, &error);
    const struct json *part = json_is(whole, type) ? whole->first : NULL;
    bool all_parse = true, begins = json_spans_begin(&spans, arena, text, type);
    ensure(begins || !json_is(whole, type));
    while (begins && json_spans_next(&spans, &key, &value)) {
        all_parse &= json_parse(arena, value, JSON_LAX, NULL) != NULL;
        if (!json_is(whole, type))
            continue;
        ensure(part && part->span.at == value.at && part->span.len == value.len);
        ensure(type == JSON_ARRAY || slice_eq(part->key, key));
        part = part->next;
    }
    ensure(part == NULL);
    ensure((!begins || spans.error) ? !json_is(whole, type) : true);
    if (begins && !spans.error && all_parse && !whole)
        ensure(strcmp(error, "duplicate key") == 0 || strcmp(error, "nested too deeply") == 0);
    arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    bool lax = check(text, JSON_LAX), canonical = check(text, JSON_CANONICAL);
    ensure(lax || !canonical);
    check_spans(text, JSON_OBJECT);
    check_spans(text, JSON_ARRAY);
    return 0;
}
