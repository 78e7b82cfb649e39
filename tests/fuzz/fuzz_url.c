/* URLs that strangers' servers name: redirects of well-known. First line the base, which may be empty, then the reference. What is
 * accepted has a host and a port, and reads the same when it is written again. */
#include "lib/base/ensure.h"
#include "lib/kit/http_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1 << 26);
    struct slice base, reference;
    struct http_url url, again;
    if (slice_cut(slice_of(data, size), '\n', &base, &reference) &&
        http_url_parse(arena, base.len ? base : SLICE_ABSENT, reference, &url)) {
        ensure(url.host.len && url.port > 0 && url.port <= 65535 && url.uri.len && url.uri.at[0] == '/');
        ensure(!memchr(url.host.at, '[', url.host.len) && !memchr(url.host.at, '@', url.host.len) && !slice_has_nul(url.host));
        ensure(!memchr(url.uri.at, '\n', url.uri.len) && !memchr(url.uri.at, '\r', url.uri.len) && !slice_has_nul(url.uri));
        struct slice text = http_url_write(arena, url.host, url.port, url.uri);
        ensure(http_url_parse(arena, SLICE_ABSENT, text, &again));
        ensure(slice_eq(url.host, again.host) && url.port == again.port && slice_eq(url.host_header, again.host_header));
        ensure(slice_eq(url.uri, again.uri));
    }
    arena_destroy(&arena);
    return 0;
}
