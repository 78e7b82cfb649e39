/* See http_url.h. */
#include "lib/kit/http_url.h"

#include "lib/base/ensure.h"

#include <curl/curl.h>

enum { URL_MAX_BYTES = 16 * 1024, HTTPS_PORT = 443 };

struct slice http_url_write(struct arena *arena, struct slice host, int port, struct slice uri)
{
    bool is_v6 = host.len && memchr(host.at, ':', host.len);
    return arena_printf(arena, is_v6 ? "https://[%.*s]:%d%.*s" : "https://%.*s:%d%.*s", PRI(host), port, PRI(uri));
}

/* The part's text in the arena, or absent. */
static struct slice part(struct arena *arena, CURLU *url, CURLUPart which)
{
    char *text = NULL;
    if (curl_url_get(url, which, &text, 0) != CURLUE_OK)
        return SLICE_ABSENT;
    struct slice copy = arena_copy(arena, slice_from_cstr(text));
    curl_free(text);
    return copy;
}

static void url_release(void *url)
{
    curl_url_cleanup(url);
}

static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.at[i] <= ' ' || text.at[i] == 0x7f)
            return false;
    }
    return text.len && text.len <= URL_MAX_BYTES;
}

bool http_url_parse(struct arena *arena, struct slice base, struct slice reference, struct http_url *out)
{
    if (!is_plain(reference) || (!slice_is_absent(base) && !is_plain(base)))
        return false;
    CURLU *url = curl_url();
    ensure(url);
    arena_defer(arena, url_release, url);
    if (!slice_is_absent(base) && curl_url_set(url, CURLUPART_URL, arena_cstr(arena, base), 0) != CURLUE_OK)
        return false;
    if (curl_url_set(url, CURLUPART_URL, arena_cstr(arena, reference), CURLU_PATH_AS_IS) != CURLUE_OK)
        return false;
    struct slice host = part(arena, url, CURLUPART_HOST), path = part(arena, url, CURLUPART_PATH),
                 query = part(arena, url, CURLUPART_QUERY);
    struct slice port_text = part(arena, url, CURLUPART_PORT);
    int64_t port = HTTPS_PORT;
    if (!slice_eq(part(arena, url, CURLUPART_SCHEME), SLICE("https")) || !host.len ||
        !slice_is_absent(part(arena, url, CURLUPART_USER)) || !slice_is_absent(part(arena, url, CURLUPART_PASSWORD)))
        return false;
    if (!slice_is_absent(port_text) && (!slice_to_i64(port_text, &port) || port < 1 || port > 65535))
        return false;
    out->host = host;
    if (host.at[0] == '[' && host.at[host.len - 1] == ']')
        out->host = slice_sub(host, 1, host.len - 2);
    out->port = (int)port;
    out->host_header = port == HTTPS_PORT ? host : arena_printf(arena, "%.*s:%d", PRI(host), (int)port);
    struct slice uri[] = {path, slice_is_absent(query) ? SLICE("") : SLICE("?"), query};
    out->uri = arena_concat(arena, uri, slice_is_absent(query) ? 1 : 3);
    return true;
}
