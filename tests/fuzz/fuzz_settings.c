/* The configuration file: what is accepted can be dumped, handed to a child and read again as the same. */
#include "lib/base/ensure.h"
#include "lib/kit/settings_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1 << 28);
    struct settings first = setting_defaults, second;
    const char *error = NULL, *lines[512];
    if (!settings_load_text(arena, slice_of(data, size), "fuzz", &first, &error)) {
        ensure(error && error[0]);
    } else {
        for (int kind = 0; kind < SERVICE_COUNT; kind++)
            if (!first.threads_of[kind])
                first.threads_of[kind] = 1; /* settings_load would have put the default */
        struct slice dump = settings_dump(arena, &first), rest = dump, line;
        size_t count = 0;
        while (count < 512 && slice_cut(rest, '\n', &line, &rest))
            lines[count++] = arena_cstr(arena, line);
        ensure(settings_load(arena, NULL, lines, count, &second, &error));
        ensure(slice_eq(dump, settings_dump(arena, &second)));
    }
    arena_destroy(&arena);
    return 0;
}
