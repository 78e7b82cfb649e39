/* The well-known answer of a stranger's server: body, Cache-Control and Expires on lines of their own; a name that is accepted is a
 * server name, a lifetime is within its bounds. */
#include "lib/base/ensure.h"
#include "lib/matrix/ids.h"
#include "workers/discovery/well_known_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t minute_ms = 60 * 1000, now_ms = INT64_C(1700000000000);

static void try_well_known(struct arena *arena, struct slice input)
{
    struct slice body = input, headers = SLICE(""), cache_control = SLICE_ABSENT, expires = SLICE_ABSENT;
    const char *why = NULL;
    if (slice_cut(input, '\n', &body, &headers) && !slice_cut(headers, '\n', &cache_control, &expires))
        cache_control = headers;
    struct slice server = well_known_server(arena, body, &why);
    ensure(slice_is_absent(server) ? why != NULL : server_name_is_valid(server));
    int64_t lifetime_ms = well_known_lifetime_ms(arena, cache_control, expires, now_ms);
    ensure(lifetime_ms >= minute_ms && lifetime_ms <= 48 * 60 * minute_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1 << 26);
    try_well_known(arena, slice_of(data, size));
    arena_destroy(&arena);
    return 0;
}
