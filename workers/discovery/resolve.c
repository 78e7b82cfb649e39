/* "Resolving server names" (Server-Server API), step by step. The numbers are the spec's. */
#include "workers/discovery/search.h"

#include "lib/matrix/ids.h"
#include "workers/discovery/srv.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>

enum { PORT_DEFAULT = 8448, TARGETS_MAX = 8, STEP_MAX = 400 };

void search_step(struct search *search, const char *format, ...)
{
    char text[STEP_MAX];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (search->steps.len)
        strbuf_add_cstr(&search->steps, " > ");
    strbuf_add(&search->steps, slice_of(text, len < STEP_MAX ? (size_t)len : STEP_MAX - 1));
}

static void take_ttl(struct search *search, int64_t ttl_s)
{
    if (ttl_s < search->ttl_s)
        search->ttl_s = ttl_s;
}

static bool is_literal(const struct server_name *name)
{
    return name->is_ipv4 || name->is_ipv6;
}

static void add_addresses(struct search *search, struct resolve_reply *reply, struct slices addresses, int port)
{
    size_t count = reply->addresses.len + addresses.len;
    struct slice *all = arena_new_array(search->arena, count, struct slice);
    int64_t *ports = arena_new_array(search->arena, count, int64_t);
    for (size_t i = 0; i < count; i++) {
        bool is_old = i < reply->addresses.len;
        all[i] = is_old ? reply->addresses.at[i] : addresses.at[i - reply->addresses.len];
        ports[i] = is_old ? reply->ports.at[i] : port;
    }
    reply->addresses = (struct slices){all, count};
    reply->ports = (struct i64s){ports, count};
}

/* Steps 1 and 3.1. */
static enum fault connect_to_literal(struct search *search, const struct server_name *name, struct resolve_reply *reply)
{
    search_step(search, "ip literal");
    add_addresses(search, reply, (struct slices){&name->host, 1}, name->port < 0 ? PORT_DEFAULT : name->port);
    return FAULT_OK;
}

/* Steps 2, 3.2, 3.5 and 6. */
static enum fault connect_to_host(struct search *search, struct slice hostname, int port, struct resolve_reply *reply,
                                  enum dns_status *status)
{
    struct host host = {.name = hostname};
    hosts_find(search, &host, 1, search->deadline_ms);
    search_step(search, "%s", host.source);
    *status = host.status;
    if (host.status != DNS_FOUND)
        return FAULT_PEER;
    take_ttl(search, host.ttl_s);
    add_addresses(search, reply, host.addresses, port);
    return FAULT_OK;
}

/* The hosts that an SRV answer names, in the order to try them. */
static enum fault connect_to_targets(struct search *search, const struct dns_question *answer, struct resolve_reply *reply,
                                     enum dns_status *status)
{
    struct dns_srv *services = arena_new_array(search->arena, answer->service_count, struct dns_srv);
    struct host hosts[TARGETS_MAX];
    size_t count = answer->service_count < TARGETS_MAX ? answer->service_count : TARGETS_MAX;
    memcpy(services, answer->services, answer->service_count * sizeof *services);
    srv_order(services, answer->service_count, randombytes_uniform);
    for (size_t i = 0; i < count; i++)
        hosts[i] = (struct host){.name = services[i].target};
    hosts_find(search, hosts, count, search->deadline_ms);
    take_ttl(search, answer->ttl_s);
    *status = DNS_NO_DATA;
    const char *source = NULL;
    for (size_t i = 0; i < count; i++) {
        if (hosts[i].status != DNS_FOUND) {
            *status = hosts[i].status;
            continue;
        }
        source = source ? source : hosts[i].source;
        take_ttl(search, hosts[i].ttl_s);
        add_addresses(search, reply, hosts[i].addresses, services[i].port);
    }
    search_step(search, "%s", source ? source : dns_status_name(*status));
    return source ? FAULT_OK : FAULT_PEER;
}

/* Steps 3.3 to 3.5, and 4 to 6. Both services are asked for at once: the second answer is there when the first one is "no". A
 * server that fails on SRV (old ones do) is taken for one without, but that answer is not kept for long. */
static enum fault connect_by_service(struct search *search, struct slice hostname, struct resolve_reply *reply,
                                     enum dns_status *status)
{
    static const char *const names[] = {"matrix-fed", "matrix"};
    struct dns_question questions[2];
    for (int i = 0; i < 2; i++)
        questions[i] =
            (struct dns_question){.name = arena_printf(search->arena, "_%s._tcp.%.*s", names[i], PRI(hostname)), .type = DNS_SRV};
    dns_ask(search->discovery->dns, search->arena, questions, 2, search->deadline_ms);
    hosts_count(search, questions, 2);
    for (int i = 0; i < 2; i++) {
        if (questions[i].status == DNS_FAILED || questions[i].status == DNS_TIMEOUT) {
            search_step(search, "srv %s %s", names[i], dns_status_name(questions[i].status));
            take_ttl(search, TTL_LEAST_S);
        }
        if (questions[i].status != DNS_FOUND)
            continue;
        search_step(search, "srv %s", names[i]);
        if (!srv_says_not_here(questions[i].services, questions[i].service_count))
            return connect_to_targets(search, &questions[i], reply, status);
        search_step(search, "not at this domain");
        *status = DNS_NO_DATA;
        return FAULT_PEER;
    }
    search_step(search, "no srv");
    return connect_to_host(search, hostname, PORT_DEFAULT, reply, status);
}

/* Step 3, with the name that well-known delegates to. */
static enum fault connect_to_delegate(struct search *search, struct slice text, const struct server_name *delegate,
                                      struct resolve_reply *reply, enum dns_status *status)
{
    reply->host_header = text;
    reply->certificate_name = delegate->host;
    if (is_literal(delegate))
        return connect_to_literal(search, delegate, reply);
    if (delegate->port >= 0) {
        search_step(search, "port");
        return connect_to_host(search, delegate->host, delegate->port, reply, status);
    }
    return connect_by_service(search, delegate->host, reply, status);
}

enum fault resolve_steps(struct search *search, struct slice text, struct resolve_reply *reply, enum dns_status *status)
{
    struct server_name name, delegate;
    *status = DNS_NO_DATA;
    if (!server_name_parse(text, &name) || name.port == 0)
        return FAULT_INVALID_PARAM;
    reply->host_header = text;
    reply->certificate_name = name.host;
    if (is_literal(&name)) /* 1 */
        return connect_to_literal(search, &name, reply);
    if (name.port > 0) { /* 2 */
        search_step(search, "port");
        return connect_to_host(search, name.host, name.port, reply, status);
    }
    struct slice delegated = well_known_find(search, name.host); /* 3 */
    if (!slice_is_absent(delegated) && server_name_parse(delegated, &delegate) && delegate.port != 0)
        return connect_to_delegate(search, delegated, &delegate, reply, status);
    return connect_by_service(search, name.host, reply, status); /* 4 to 6 */
}
