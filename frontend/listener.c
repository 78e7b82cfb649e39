/* Accepting is h2o's, after guards.c has looked at who comes. Socket options are set on the listening socket and inherited by what
 * it accepts: keep-alive probes and a limit on unacknowledged data find clients that vanished without a word. */
#include "frontend/listener.h"

#include "frontend/guards.h"
#include "frontend/tls.h"
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/endpoints.h"

#include <errno.h>
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

static void listener_add(struct loop *loop, int descriptor, const struct endpoint *endpoint, enum listener_role role, SSL_CTX *tls)
{
    struct listener *listener = calloc(1, sizeof *listener);
    ensure(listener);
    listener->loop = loop;
    listener->descriptor = descriptor;
    listener->tls = endpoint->tls;
    listener->accept.ctx = &loop->context;
    listener->accept.hosts = loop->front->hosts[role];
    if (endpoint->tls) {
        SSL_CTX_up_ref(tls);
        listener->accept.ssl_ctx = tls;
    }
    listener->next = loop->listeners;
    loop->listeners = listener;
}

/* Port 0 gets a number with the first loop's socket, which the others then share. */
static bool endpoint_open(struct front *front, int loops, const struct endpoint *endpoint, enum listener_role role, SSL_CTX *tls)
{
    struct sockaddr_storage address;
    socklen_t len = 0;
    const char *failed = endpoint_address(endpoint, &address, &len);
    for (int i = 0; i < loops; i++) {
        int descriptor = failed ? -1 : bind_socket((struct sockaddr *)&address, len);
        if (descriptor < 0) {
            log_event(LOG_ERROR, "cannot listen", LOG_CSTR("address", endpoint->host), LOG_CSTR("port", endpoint->port),
                      LOG_CSTR("error", failed ? failed : strerror(errno)));
            return false;
        }
        listener_add(&front->loops[i], descriptor, endpoint, role, tls);
        getsockname(descriptor, (struct sockaddr *)&address, &len);
    }
    log_event(LOG_INFO, "listening", LOG_CSTR("address", endpoint->host),
              LOG_I64("port", h2o_socket_getport((struct sockaddr *)&address)),
              LOG_CSTR("transport", endpoint->tls ? "tls" : "plain"),
              LOG_CSTR("role", role == LISTENER_CLIENT ? "client" : "federation"));
    return true;
}

bool listeners_open(struct front *front, const struct settings *settings)
{
    struct endpoint endpoints[ENDPOINTS_MAX];
    struct slice wrong;
    int clients = endpoints_parse(settings->client_listen, endpoints, 0, &wrong);
    int count = clients < 0 ? -1 : endpoints_parse(settings->federation_listen, endpoints, clients, &wrong);
    bool wants_tls = false;
    if (count < 0) /* the supervisor has looked; whoever runs a frontend by hand is told here */
        log_event(LOG_ERROR, "a listener is address:port, optionally followed by ,tls or ,plain", LOG_STR("word", wrong));
    for (int i = 0; i < count; i++)
        wants_tls |= endpoints[i].tls;
    SSL_CTX *tls = wants_tls ? tls_create(settings) : NULL;
    bool opened = count >= 0 && (tls || !wants_tls);
    for (int i = 0; opened && i < count; i++)
        opened = endpoint_open(front, front->loop_count, &endpoints[i], i < clients ? LISTENER_CLIENT : LISTENER_FEDERATION, tls);
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

/* h2o notes the context of an accepted connection without holding it, and looks at it when the client says its first word: until
 * its handshake timeout (10 s) a replaced one is still needed. */
struct retired {
    struct retired *next;
    SSL_CTX *tls;
    int64_t until_ms;
};
enum { RETIRED_MS = 60000 };

static void retire(struct loop *loop, SSL_CTX *tls)
{
    struct retired *retired = malloc(sizeof *retired);
    ensure(retired);
    *retired = (struct retired){loop->retired, tls, clock_monotonic_ms() + RETIRED_MS};
    loop->retired = retired;
}

static void forget_retired(struct loop *loop)
{
    struct retired **place = &loop->retired;
    while (*place) {
        struct retired *retired = *place;
        if (clock_monotonic_ms() < retired->until_ms) {
            place = &retired->next;
            continue;
        }
        *place = retired->next;
        SSL_CTX_free(retired->tls);
        free(retired);
    }
}

void listeners_reload(struct loop *loop)
{
    SSL_CTX *fresh = NULL;
    forget_retired(loop);
    for (struct listener *listener = loop->listeners; listener; listener = listener->next) {
        if (!listener->tls || (!fresh && !(fresh = tls_create(loop->settings))))
            continue;
        retire(loop, listener->accept.ssl_ctx);
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
