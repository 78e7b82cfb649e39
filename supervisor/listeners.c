/* See listeners.h. */
#include "supervisor/listeners.h"

#include "lib/base/clock.h"
#include "lib/kit/address.h"
#include "lib/kit/endpoints.h"

#include <errno.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 2000, AGAIN_MS = 50 };

static const struct {
    const char *name;
    size_t offset; /* in struct settings */
} lists[] = {
    {"client_listen", offsetof(struct settings, client_listen)},
    {"federation_listen", offsetof(struct settings, federation_listen)},
};
enum { LISTS = sizeof lists / sizeof lists[0] };

static const char *list_of(const struct settings *settings, size_t i)
{
    return *(const char *const *)((const char *)settings + lists[i].offset);
}

const char *listeners_malformed(struct arena *arena, const struct settings *settings)
{
    struct endpoint endpoints[ENDPOINTS_MAX];
    struct slice wrong;
    for (size_t i = 0; i < LISTS; i++)
        if (endpoints_parse(list_of(settings, i), endpoints, 0, &wrong) < 0)
            return arena_printf(arena, "%s: \"%.*s\" is not address:port, optionally followed by ,tls or ,plain", lists[i].name,
                                PRI(wrong))
                .at;
    return NULL;
}

/* The workers bind it with a port of their own each, and the registry tells others what they bound: so it must be one address that
 * others can connect to, and no name, which a slow resolver would make every socket wait for. */
const char *bus_listen_wrong(struct arena *arena, const struct settings *settings)
{
    struct slice text = slice_from_cstr(settings->bus_listen), host = text;
    if (!text.len)
        return NULL;
    bool bracketed = text.len > 2 && text.at[0] == '[' && text.at[text.len - 1] == ']';
    if (bracketed)
        host = slice_sub(text, 1, text.len - 2);
    if (!address_is_numeric(host))
        return arena_printf(arena, "bus_listen: \"%s\" must be a numeric address without a port", settings->bus_listen).at;
    if (!bracketed && memchr(host.at, ':', host.len))
        return arena_printf(arena, "bus_listen: an IPv6 address wants brackets: [%s]", settings->bus_listen).at;
    if (slice_eq(host, SLICE("0.0.0.0")) || slice_eq(host, SLICE("::")))
        return arena_printf(arena, "bus_listen: %s is no address that other machines can connect to", settings->bus_listen).at;
    return NULL;
}

/* 0, or errno. Privileged ports are the frontend's to bind, not ours: no permission is no news. */
static int bind_once(const struct sockaddr_storage *address, socklen_t len)
{
    int on = 1, off = 0, made = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0)
        return errno;
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* connections of the past do not count; a listener does */
    if (address->ss_family == AF_INET6)
        setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    int error = bind(made, (const struct sockaddr *)address, len) == 0 ? 0 : errno;
    close(made);
    return error == EACCES ? 0 : error;
}

static const char *endpoint_taken(const struct endpoint *endpoint)
{
    struct sockaddr_storage address;
    socklen_t len;
    const char *failed = endpoint_address(endpoint, &address, &len);
    if (failed)
        return failed;
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
    int error;
    while ((error = bind_once(&address, len)) == EADDRINUSE && clock_monotonic_ms() < until_ms)
        nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * 1000000L}, NULL);
    return error == EADDRINUSE ? "is in use" : error ? strerror(error) : NULL;
}

const char *listeners_taken(struct arena *arena, const struct settings *settings)
{
    for (size_t i = 0; i < LISTS; i++) {
        struct endpoint endpoints[ENDPOINTS_MAX];
        struct slice wrong;
        int count = endpoints_parse(list_of(settings, i), endpoints, 0, &wrong);
        for (int k = 0; k < count; k++) {
            const struct endpoint *endpoint = &endpoints[k];
            bool bracketed = strchr(endpoint->host, ':') != NULL;
            const char *why = endpoint_taken(endpoint);
            if (why)
                return arena_printf(arena, "%s %s%s%s:%s %s", lists[i].name, bracketed ? "[" : "",
                                    endpoint->host[0] ? endpoint->host : "*", bracketed ? "]" : "", endpoint->port, why)
                    .at;
        }
    }
    return NULL;
}
