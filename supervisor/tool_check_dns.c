/* Part of `myelin check`: how other servers will find this one, by the steps of the specification (server-server API, "Server
 * discovery"), and what DNS says at each of them. The well-known file is fetched by curl when that is installed. */
#include "supervisor/tool_check.h"

#include "lib/base/json.h"
#include "lib/matrix/ids.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>

static bool show_addresses(struct arena *arena, const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *next;
    char text[64];
    struct strbuf list = strbuf_in(arena);
    int why = getaddrinfo(host, NULL, &hints, &found);
    if (why) {
        check_bad("DNS: %s has no address: %s", host, gai_strerror(why));
        return false;
    }
    for (next = found; next; next = next->ai_next) {
        if (getnameinfo(next->ai_addr, next->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
            strbuf_printf(&list, " %s", text);
    }
    freeaddrinfo(found);
    check_good("DNS: %s is%.*s", host, PRI(strbuf_slice(&list)));
    return true;
}

static unsigned get16(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* The first SRV record of the name, "target:port"; absent. Walked by hand: the resolver's record parser is in a library of its own.
 */
static struct slice find_service(struct arena *arena, const char *name)
{
    unsigned char answer[4096];
    char target[NS_MAXDNAME];
    int len = res_query(name, ns_c_in, ns_t_srv, answer, sizeof answer), skipped;
    if (len < NS_HFIXEDSZ || len > (int)sizeof answer)
        return SLICE_ABSENT;
    const unsigned char *at = answer + NS_HFIXEDSZ, *end = answer + len;
    unsigned questions = get16(answer + 4), records = get16(answer + 6);
    for (; questions && (skipped = dn_skipname(at, end)) >= 0 && end - at >= skipped + NS_QFIXEDSZ; questions--)
        at += skipped + NS_QFIXEDSZ;
    for (; records && (skipped = dn_skipname(at, end)) >= 0 && end - at >= skipped + NS_RRFIXEDSZ; records--) {
        const unsigned char *record = at + skipped, *data = record + NS_RRFIXEDSZ;
        unsigned size = get16(record + 8);
        if (end - data < (int)size)
            break;
        if (get16(record) == ns_t_srv && size > 6 && dn_expand(answer, end, data + 6, target, sizeof target) > 0)
            return arena_printf(arena, "%s:%u", target, get16(data + 4));
        at = data + size;
    }
    return SLICE_ABSENT;
}

/* m.server of the well-known file; absent when there is none. The host was checked to be a server name: no shell characters. */
static struct slice fetch_delegation(struct arena *arena, const char *host)
{
    const char *command =
        arena_printf(arena, "exec curl -sfL --max-time 10 --max-filesize 65536 https://%s/.well-known/matrix/server 2>/dev/null",
                     host)
            .at;
    char *text = arena_alloc(arena, 65536);
    FILE *pipe = popen(command, "re");
    size_t len = pipe ? fread(text, 1, 65535, pipe) : 0;
    if (pipe)
        pclose(pipe);
    return json_get_string(json_parse(arena, slice_of(text, len), JSON_LAX, NULL), "m.server");
}

static void check_host(struct arena *arena, struct server_name name)
{
    const char *host = arena_cstr(arena, name.host);
    if (name.is_ipv4 || name.is_ipv6) {
        check_note("discovery: others connect to %s, port %d", host, name.port < 0 ? 8448 : name.port);
    } else if (name.port >= 0) {
        if (show_addresses(arena, host))
            check_note("discovery: others connect to %s, port %d", host, name.port);
    } else {
        const char *current = arena_printf(arena, "_matrix-fed._tcp.%s", host).at,
                   *old = arena_printf(arena, "_matrix._tcp.%s", host).at;
        struct slice service = find_service(arena, current);
        if (slice_is_absent(service))
            service = find_service(arena, old);
        if (!slice_is_absent(service)) {
            check_note("discovery: by SRV record others connect to %.*s, with a certificate for %s", PRI(service), host);
        } else if (show_addresses(arena, host)) {
            check_note("discovery: no SRV record: others connect to %s, port 8448", host);
        }
    }
}

void check_reachable(struct arena *arena, const struct settings *settings)
{
    struct server_name name, delegated;
    if (!server_name_parse(slice_from_cstr(settings->server_name), &name))
        return;
    bool asks_well_known = !name.is_ipv4 && !name.is_ipv6 && name.port < 0;
    struct slice delegation = asks_well_known ? fetch_delegation(arena, arena_cstr(arena, name.host)) : SLICE_ABSENT;
    if (!slice_is_absent(delegation)) {
        if (server_name_parse(delegation, &delegated)) {
            check_good("well-known: https://%.*s/.well-known/matrix/server delegates to %.*s", PRI(name.host), PRI(delegation));
            check_host(arena, delegated);
            return;
        }
        check_bad("well-known: m.server \"%.*s\" is not a server name", PRI(delegation));
    } else if (asks_well_known) {
        check_note("well-known: none at https://%.*s/.well-known/matrix/server (or curl is not installed)", PRI(name.host));
    }
    check_host(arena, name);
}
