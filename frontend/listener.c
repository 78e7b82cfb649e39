/* Accepting is h2o's, after guards.c has looked at who comes. Socket options are set on the listening socket and inherited by what
 * it accepts: keep-alive probes and a limit on unacknowledged data find clients that vanished without a word. */
#include "frontend/listener.h"

#include "frontend/guards.h"
#include "frontend/tls.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ACCEPT_BATCH = 16, BACKLOG = 4096, PROBE_AFTER_S = 60, PROBE_EVERY_S = 15, PROBES = 4, UNACKNOWLEDGED_MS = 60000 };

struct listener {
    struct listener *next;
    struct loop *loop;
    int descriptor;
    bool tls;
    h2o_socket_t *socket;
    h2o_accept_ctx_t accept;
};

/* ---- the setting */

static bool endpoint_parse(struct slice text, struct endpoint *out)
{
    size_t colon = text.len;
    while (colon > 0 && text.at[colon - 1] != ':')
        colon--;
    struct slice host = slice_sub(text, 0, colon ? colon - 1 : 0), port = slice_sub(text, colon, SIZE_MAX);
    int64_t number;
    if (colon == 0 || !slice_to_i64(port, &number) || number < 0 || number > 65535)
        return false;
    if (host.len >= 2 && host.at[0] == '[' && host.at[host.len - 1] == ']')
        host = slice_sub(host, 1, host.len - 2);
    else if (memchr(host.at, ':', host.len))
        return false; /* IPv6 wants brackets */
    if (slice_eq(host, SLICE("*")))
        host = SLICE("");
    if (host.len >= sizeof out->host)
        return false;
    snprintf(out->host, sizeof out->host, "%.*s", PRI(host));
    snprintf(out->port, sizeof out->port, "%d", (int)number);
    return true;
}

int endpoints_parse(const char *list, enum listener_role role, struct endpoint *endpoints, int count)
{
    int first = count;
    struct slice rest = slice_from_cstr(list), word;
    while (rest.len) {
        if (!slice_cut(rest, ',', &word, &rest)) {
            word = rest;
            rest = SLICE("");
        }
        word = slice_trim(word);
        if (word.len == 0)
            continue;
        bool tls = slice_eq(word, SLICE("tls"));
        if (tls || slice_eq(word, SLICE("plain"))) {
            if (count == first)
                goto malformed;
            endpoints[count - 1].tls = tls;
            continue;
        }
        if (count == ENDPOINTS_MAX || !endpoint_parse(word, &endpoints[count]))
            goto malformed;
        endpoints[count].role = role;
        endpoints[count++].tls = false;
    }
    return count;
malformed:
    log_event(LOG_ERROR, "a listener is address:port, optionally followed by ,tls or ,plain", LOG_CSTR("setting", list),
              LOG_STR("word", word));
    return -1;
}

/* ---- sockets */

static void set_options(int descriptor, int family)
{
    const struct {
        int level, name, value;
    } options[] = {{SOL_SOCKET, SO_REUSEADDR, 1},
                   {SOL_SOCKET, SO_REUSEPORT, 1},
                   {SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, PROBE_AFTER_S},
                   {IPPROTO_TCP, TCP_KEEPINTVL, PROBE_EVERY_S},
                   {IPPROTO_TCP, TCP_KEEPCNT, PROBES},
                   {IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS},
                   {IPPROTO_TCP, TCP_DEFER_ACCEPT, 0}};
    int off = 0;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(descriptor, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
    if (family == AF_INET6)
        setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
}

static int bind_socket(const struct sockaddr *address, socklen_t len)
{
    int descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0)
        return -1;
    set_options(descriptor, address->sa_family);
    if (bind(descriptor, address, len) == 0 && listen(descriptor, BACKLOG) == 0)
        return descriptor;
    int error = errno;
    close(descriptor);
    errno = error;
    return -1;
}

static void listener_add(struct loop *loop, int descriptor, const struct endpoint *endpoint, SSL_CTX *tls)
{
    struct listener *listener = calloc(1, sizeof *listener);
    ensure(listener);
    listener->loop = loop;
    listener->descriptor = descriptor;
    listener->tls = endpoint->tls;
    listener->accept.ctx = &loop->context;
    listener->accept.hosts = loop->front->hosts[endpoint->role];
    if (endpoint->tls) {
        SSL_CTX_up_ref(tls);
        listener->accept.ssl_ctx = tls;
    }
    listener->next = loop->listeners;
    loop->listeners = listener;
}

/* Port 0 gets a number with the first loop's socket, which the others then share. */
static bool endpoint_open(struct front *front, int loops, const struct endpoint *endpoint, SSL_CTX *tls)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    const char *host = endpoint->host[0] ? endpoint->host : "::";
    int failed = getaddrinfo(host, endpoint->port, &hints, &found);
    struct sockaddr_storage address;
    socklen_t len = 0;
    if (!failed) {
        len = found->ai_addrlen;
        memcpy(&address, found->ai_addr, len);
        freeaddrinfo(found);
    }
    for (int i = 0; i < loops; i++) {
        int descriptor = failed ? -1 : bind_socket((struct sockaddr *)&address, len);
        if (descriptor < 0) {
            log_event(LOG_ERROR, "cannot listen", LOG_CSTR("address", host), LOG_CSTR("port", endpoint->port),
                      LOG_CSTR("error", failed ? gai_strerror(failed) : strerror(errno)));
            return false;
        }
        listener_add(&front->loops[i], descriptor, endpoint, tls);
        getsockname(descriptor, (struct sockaddr *)&address, &len);
    }
    log_event(LOG_INFO, "listening", LOG_CSTR("address", host), LOG_I64("port", h2o_socket_getport((struct sockaddr *)&address)),
              LOG_CSTR("transport", endpoint->tls ? "tls" : "plain"),
              LOG_CSTR("role", endpoint->role == LISTENER_CLIENT ? "client" : "federation"));
    return true;
}

bool listeners_open(struct front *front, const struct settings *settings)
{
    struct endpoint endpoints[ENDPOINTS_MAX];
    int count = endpoints_parse(settings->client_listen, LISTENER_CLIENT, endpoints, 0);
    if (count >= 0)
        count = endpoints_parse(settings->federation_listen, LISTENER_FEDERATION, endpoints, count);
    bool wants_tls = false;
    for (int i = 0; i < count; i++)
        wants_tls |= endpoints[i].tls;
    SSL_CTX *tls = wants_tls ? tls_create(settings) : NULL;
    bool opened = count >= 0 && (tls || !wants_tls);
    for (int i = 0; opened && i < count; i++)
        opened = endpoint_open(front, front->loop_count, &endpoints[i], tls);
    SSL_CTX_free(tls);
    return opened;
}

/* ---- accepting */

static void on_connections(h2o_socket_t *socket, const char *error)
{
    struct listener *listener = socket->data;
    if (error)
        return;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        h2o_socket_t *accepted = h2o_evloop_socket_accept(socket);
        if (!accepted)
            return;
        if (client_admit(listener->loop, accepted))
            h2o_accept(&listener->accept, accepted);
    }
}

void listeners_start(struct loop *loop)
{
    for (struct listener *listener = loop->listeners; listener; listener = listener->next) {
        listener->socket = h2o_evloop_socket_create(loop->events, listener->descriptor, H2O_SOCKET_FLAG_DONT_READ);
        listener->socket->data = listener;
        h2o_socket_read_start(listener->socket, on_connections);
    }
}

void listeners_reload(struct loop *loop)
{
    SSL_CTX *fresh = NULL;
    for (struct listener *listener = loop->listeners; listener; listener = listener->next) {
        if (!listener->tls || (!fresh && !(fresh = tls_create(loop->settings))))
            continue;
        SSL_CTX_free(listener->accept.ssl_ctx);
        SSL_CTX_up_ref(fresh);
        listener->accept.ssl_ctx = fresh;
    }
    SSL_CTX_free(fresh);
}

/* Handshakes in progress point to the listener's accept context, so it stays until the process ends. */
void listeners_close(struct loop *loop)
{
    for (struct listener *listener = loop->listeners; listener; listener = listener->next) {
        if (!listener->socket)
            continue;
        on_connections(listener->socket, NULL);
        h2o_socket_read_stop(listener->socket);
        h2o_socket_close(listener->socket);
        listener->socket = NULL;
    }
}
