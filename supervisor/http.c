/* /metrics and /health on metrics_listen: just enough HTTP/1.1 for Prometheus, a load balancer and curl. One request per
 * connection, at most 4 KiB of it, GET only; the answers are made by status.c and metrics_merge.c. */
#include "supervisor/supervisor.h"

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "supervisor/say.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { REQUEST_MAX = 4096, ANSWER_MAX = 256 * 1024 * 1024, CLIENTS_MAX = 64 };

static struct {
    struct watch watch;
    struct supervisor *supervisor;
    int clients;
} listener;

struct client {
    struct channel channel; /* first */
    bool asked;
};

static void answer(struct client *client, struct arena *arena, const char *status, const char *type, struct slice body)
{
    client->channel.close_when_sent = true;
    channel_write(&client->channel,
                  arena_printf(arena, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%.*s",
                               status, type, body.len, PRI(body)));
}

static void metrics_done(struct collect *collect, void *context)
{
    answer(context, collect->arena, "200 OK", "text/plain; version=0.0.4; charset=utf-8",
           metrics_merge(collect->supervisor, collect));
}

static void take_target(struct client *client, struct arena *arena, struct slice target)
{
    struct supervisor *supervisor = listener.supervisor;
    struct slice path = target, query;
    slice_cut(target, '?', &path, &query);
    if (slice_eq(path, SLICE("/metrics"))) {
        collect_start(supervisor, "metrics", metrics_done, client);
    } else if (slice_eq(path, SLICE("/health"))) {
        bool healthy;
        struct slice body = health_json(supervisor, arena, &healthy);
        answer(client, arena, healthy ? "200 OK" : "503 Service Unavailable", "application/json", body);
    } else {
        answer(client, arena, "404 Not Found", "text/plain", SLICE("/metrics or /health\n"));
    }
}

static bool take_request(struct channel *channel)
{
    struct client *client = (struct client *)channel;
    struct slice text = slice_of(channel->in.at, channel->in.len), method, target, rest;
    if (client->asked)
        return true; /* the rest is not for us */
    if (!memmem(text.at, text.len, "\r\n\r\n", 4))
        return text.len < REQUEST_MAX;
    client->asked = true;
    if (!slice_cut(text, ' ', &method, &rest) || !slice_cut(rest, ' ', &target, &rest))
        return false;
    struct arena *arena = arena_create(ANSWER_MAX);
    if (slice_eq(method, SLICE("GET")))
        take_target(client, arena, target);
    else
        answer(client, arena, "405 Method Not Allowed", "text/plain", SLICE("GET only\n"));
    arena_destroy(&arena);
    return true;
}

static void client_gone(struct channel *channel)
{
    collect_forget(listener.supervisor, channel);
    listener.clients--;
    free(channel);
}

static void accept_client(struct watch *watch, uint32_t events)
{
    int descriptor = accept4(watch->descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0)
        return;
    struct client *client = calloc(1, sizeof *client);
    ensure(client);
    client->channel.take = take_request;
    client->channel.closed = client_gone;
    channel_open(&client->channel, descriptor, 2 * REQUEST_MAX, ANSWER_MAX);
    if (++listener.clients > CLIENTS_MAX)
        shutdown(descriptor, SHUT_RDWR);
}

void http_open(struct supervisor *supervisor)
{
    const char *error;
    if (!supervisor->settings.metrics_listen[0])
        return;
    listener.supervisor = supervisor;
    listener.watch = (struct watch){listen_tcp(supervisor->settings.metrics_listen, &error), accept_client};
    if (listener.watch.descriptor < 0)
        die("metrics_listen %s: %s", supervisor->settings.metrics_listen, error);
    loop_add(&listener.watch, EPOLLIN);
}
