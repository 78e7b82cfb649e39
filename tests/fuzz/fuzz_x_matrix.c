/* The X-Matrix header: what parses, and can be written without escapes, is the same after being written and read again. */
#include "lib/base/ensure.h"
#include "lib/matrix/ids.h"
#include "lib/matrix/x_matrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool needs_escapes(struct slice text)
{
    return memchr(text.at, '"', text.len) || memchr(text.at, '\\', text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1 << 26);
    struct x_matrix header, again;
    if (x_matrix_parse(arena, slice_of(data, size), &header)) {
        ensure(server_name_is_valid(header.origin) && header.key_id.len && header.signature.len);
        if (!needs_escapes(header.key_id) && !needs_escapes(header.signature)) {
            ensure(x_matrix_parse(arena, x_matrix_format(arena, &header), &again));
            ensure(slice_eq(header.origin, again.origin) && slice_eq(header.destination, again.destination));
            ensure(slice_eq(header.key_id, again.key_id) && slice_eq(header.signature, again.signature));
        }
    }
    arena_destroy(&arena);
    return 0;
}
