/* Everything a connection may do to us that libh2o lets it do. The tools are few: each connection has a struct client, hung on the
 * socket's close callback; once a second a sweep looks at all requests that are still being read; and whoever breaks a rule gets
 * shutdown(2), which makes h2o see the end of the stream in its own time, so that it is safe in any callback. */
#include "frontend/guards.h"

#include "frontend/framing.h"

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/kit/metrics.h"

#include <linux/tcp.h>
#include <stdlib.h>

enum {
    HEADER_MS = 10000,            /* a request's head, from its first byte */
    IDLE_MS = 75000,              /* between requests of a connection */
    BODY_BYTES_PER_S = 64 * 1024, /* a body that comes at least this fast may take longer than body_timeout */
    UNFINISHED_BODIES = 3,        /* times the largest one: what a connection may send without finishing any */
    RESET_BURST = 200,            /* unanswered streams that a client may drop… */
    RESET_MS = 100,               /* …and how fast they are forgiven: ten a second */
};

/* ---- who may connect */

struct admission {
    pthread_mutex_t lock;
    struct map *open; /* address key → connections */
    int64_t total;
    struct metric *connections, *refused, *reset_floods, *slow;
};

struct admission *admission_create(void)
{
    struct admission *admission = calloc(1, sizeof *admission);
    ensure(admission);
    pthread_mutex_init(&admission->lock, NULL);
    admission->open = map_create(NULL);
    admission->connections = metric_gauge("myelin_frontend_connections", "Open client connections", NULL);
    admission->refused = metric_counter("myelin_frontend_connections_refused_total", "Connections over a cap", NULL);
    admission->reset_floods =
        metric_counter("myelin_frontend_reset_floods_total", "HTTP/2 connections cut for resetting too many streams", NULL);
    admission->slow = metric_counter("myelin_frontend_slow_requests_total", "Connections cut for late headers or bodies", NULL);
    return admission;
}

void admission_destroy(struct admission **admission)
{
    if (*admission) {
        map_destroy(&(*admission)->open);
        pthread_mutex_destroy(&(*admission)->lock);
    }
    free(*admission);
    *admission = NULL;
}

static struct slice key_slice(const struct client *client)
{
    return slice_of((const char *)&client->address.key, sizeof client->address.key);
}

static bool admission_enter(struct admission *admission, const struct client *client, const struct settings *settings)
{
    bool admitted = false;
    pthread_mutex_lock(&admission->lock);
    int64_t open = 0;
    map_get_i64(admission->open, key_slice(client), &open);
    if (admission->total < settings->connections_max && (!client->counted || open < settings->connections_per_address)) {
        admission->total++;
        if (client->counted)
            map_put_i64(admission->open, key_slice(client), open + 1);
        admitted = true;
    }
    pthread_mutex_unlock(&admission->lock);
    metric_add(admitted ? admission->connections : admission->refused, 1);
    return admitted;
}

static void admission_leave(struct admission *admission, const struct client *client)
{
    pthread_mutex_lock(&admission->lock);
    admission->total--;
    int64_t open = 0;
    if (client->counted && map_get_i64(admission->open, key_slice(client), &open)) {
        if (open > 1)
            map_put_i64(admission->open, key_slice(client), open - 1);
        else
            map_remove(admission->open, key_slice(client));
    }
    pthread_mutex_unlock(&admission->lock);
    metric_add(admission->connections, -1);
}

/* ---- one connection */

static void on_close(void *data)
{
    struct client *client = data;
    admission_leave(client->loop->front->admission, client);
    client->loop->client_count--;
    h2o_linklist_unlink(&client->link);
    free(client);
}

struct client *client_admit(struct loop *loop, h2o_socket_t *socket)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    struct client *client = calloc(1, sizeof *client);
    ensure(client);
    h2o_socket_getpeername(socket, (struct sockaddr *)&peer);
    address_from_socket((struct sockaddr *)&peer, &client->address);
    client->loop = loop;
    client->socket = socket;
    client->counted = !networks_contain(loop->trusted, &client->address);
    client->idle_since_ms = (int64_t)h2o_now(loop->events);
    if (!admission_enter(loop->front->admission, client, loop->settings)) {
        log_event(LOG_DEBUG, "connection over a cap", LOG_CSTR("address", client->address.text));
        free(client);
        h2o_socket_close(socket);
        return NULL;
    }
    h2o_linklist_insert(&loop->clients, &client->link);
    loop->client_count++;
    socket->on_close.cb = on_close;
    socket->on_close.data = client;
    if (!h2o_timeout_is_linked(&loop->sweep))
        h2o_timeout_link(loop->events, &loop->context.one_sec_timeout, &loop->sweep);
    return client;
}

struct client *client_of_request(h2o_req_t *req)
{
    return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

void client_shut(struct client *client)
{
    client->doomed = true;
    shutdown(h2o_socket_get_fd(client->socket), SHUT_RDWR);
}

/* The same arithmetic as in limits.c: full_at is when all would be forgiven. What was read from the socket before the shutdown
 * still reaches the handler, which sees `doomed` and answers without a worker. */
void client_reset(struct client *client)
{
    int64_t now_ms = (int64_t)h2o_now(client->loop->events);
    if (client->doomed)
        return;
    if (client->resets_full_at_ms < now_ms)
        client->resets_full_at_ms = now_ms;
    client->resets_full_at_ms += RESET_MS;
    if (client->resets_full_at_ms - now_ms <= RESET_BURST * RESET_MS)
        return;
    log_event(LOG_INFO, "stream reset flood: connection cut", LOG_CSTR("address", client->address.text));
    metric_add(client->loop->front->admission->reset_floods, 1);
    client_shut(client);
}

/* ---- the sweep */

static int64_t timeval_ms(struct timeval tv)
{
    return (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000;
}

static void cut_slow(struct client *client, const char *what)
{
    if (client->doomed)
        return;
    log_event(LOG_INFO, "connection cut", LOG_CSTR("why", what), LOG_CSTR("address", client->address.text));
    metric_add(client->loop->front->admission->slow, 1);
    client_shut(client);
}

static void judge_body(struct client *client, int64_t since_ms, uint64_t received)
{
    const struct loop *loop = client->loop;
    int64_t allowed_ms = loop->settings->body_timeout + (int64_t)(received * 1000 / BODY_BYTES_PER_S);
    if ((int64_t)h2o_now(client->loop->events) - since_ms > allowed_ms)
        cut_slow(client, "the body is late");
    else if (received > UNFINISHED_BODIES * loop->front->entity_max)
        cut_slow(client, "too much in unfinished bodies");
}

/* What the kernel has received on the connection since it was opened. */
static uint64_t bytes_received(const struct client *client)
{
    struct tcp_info info = {.tcpi_bytes_received = 0};
    socklen_t size = sizeof info;
    getsockopt(h2o_socket_get_fd(client->socket), IPPROTO_TCP, TCP_INFO, &info, &size);
    return info.tcpi_bytes_received;
}

/* h2o keeps these times for HTTP/1: begin_at is the first byte, body_begin_at the end of the head, both 0 until then. A path
 * configuration is bound when the request is handed to us: from then on the worker's deadline counts, not the client's. */
static int judge_http1(h2o_req_t *req, void *unused)
{
    struct client *client = client_of_request(req);
    int64_t now_ms = (int64_t)h2o_now(client->loop->events);
    if (req->pathconf)
        return 0;
    if (req->timestamps.request_body_begin_at.tv_sec)
        judge_body(client, timeval_ms(req->timestamps.request_body_begin_at), client->socket->input->size);
    else if (req->timestamps.request_begin_at.tv_sec) {
        if (now_ms - timeval_ms(req->timestamps.request_begin_at) > HEADER_MS)
            cut_slow(client, "the headers are late");
    } else if (now_ms - client->idle_since_ms > IDLE_MS && !client->doomed)
        client_shut(client);
    return 0;
}

/* HTTP/2 has no times of its own, so the first sweep that sees an unfinished request notes it; nor does h2o show how much of a body
 * it has, so what came on the connection since then must do. Idle connections are h2o's business. */
static int judge_http2(h2o_req_t *req, void *unused)
{
    struct client *client = client_of_request(req);
    struct timeval *since = &req->timestamps.request_body_begin_at;
    if (req->pathconf)
        return 0;
    if (since->tv_sec == 0)
        *since = *h2o_get_timestamp(&client->loop->context, NULL, NULL);
    if (!client->has_unfinished && !client->had_unfinished)
        client->received_before = bytes_received(client);
    client->has_unfinished = true;
    judge_body(client, timeval_ms(*since), bytes_received(client) - client->received_before);
    return 0;
}

void guards_sweep(struct loop *loop)
{
    const h2o_globalconf_t *config = &loop->front->config;
    for (h2o_linklist_t *node = loop->clients.next; node != &loop->clients; node = node->next) {
        struct client *client = H2O_STRUCT_FROM_MEMBER(struct client, link, node);
        client->had_unfinished = client->has_unfinished;
        client->has_unfinished = false;
    }
    config->http1.callbacks.foreach_request(&loop->context, judge_http1, NULL);
    config->http2.callbacks.foreach_request(&loop->context, judge_http2, NULL);
}

static int shut_if_idle(h2o_req_t *req, void *unused)
{
    if (!req->pathconf && !req->timestamps.request_begin_at.tv_sec)
        client_shut(client_of_request(req));
    return 0;
}

void guards_shut_idle(struct loop *loop)
{
    loop->front->config.http1.callbacks.foreach_request(&loop->context, shut_if_idle, NULL);
}

/* ---- framing */

/* h2o has taken the framing headers out of req->headers, but the head stands unchanged at the start of the socket's input until
 * the request is answered. */
const char *guards_framing_error(h2o_req_t *req)
{
    if (req->version >= 0x200)
        return NULL;
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    return framing_error(slice_of(socket->input->bytes, socket->input->size), req->version >= 0x101);
}
