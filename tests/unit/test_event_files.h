/* Reading tests/vectors/ and telling which case failed; shared by the test_event_*.c programs. */
#ifndef MYELIN_TESTS_EVENT_FILES_H
#define MYELIN_TESTS_EVENT_FILES_H

#include <stdio.h>

#include "lib/base/json.h"

static inline const struct json *vectors_read(struct arena *arena, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/vectors/%s", MYELIN_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    struct strbuf text = strbuf_in(arena);
    char block[4096];
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;)
        strbuf_add(&text, slice_of(block, got));
    fclose(file);
    const struct json *root = json_parse(arena, strbuf_slice(&text), JSON_LAX, NULL);
    assert_non_null(root);
    return root;
}

/* Ends the test unless both are the same; names the case and shows both otherwise. */
static inline void check_text(const char *what, struct slice name, struct slice actual, struct slice expected)
{
    if (slice_is_absent(actual) == slice_is_absent(expected) && slice_eq(actual, expected))
        return;
    fail_msg("%.*s: %s is\n  %.*s\ninstead of\n  %.*s", PRI(name), what, PRI(actual), PRI(expected));
}

#endif
