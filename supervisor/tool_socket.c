/* data/run/supervisor.sock: the tool's questions, one JSON object per line, one line back each.
 *   {"do":"status"}   {"do":"peers"}   {"do":"settings"}   {"do":"calls"}   {"do":"log_level","level":"debug"}
 *   {"do":"drain","what":"rooms"}   {"do":"reload"}   {"do":"stop"}
 * Only the account itself (and root) can reach the socket, so it needs no more of a password than the data folder has. */
#include "supervisor/supervisor.h"

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "supervisor/say.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_MAX = 64 * 1024, ANSWER_MAX = 64 * 1024 * 1024 };

static struct {
    struct watch watch;
    struct supervisor *supervisor;
} listener;

struct client {
    struct channel channel; /* first */
    struct supervisor *supervisor;
};

static void reply(struct client *client, struct slice json)
{
    channel_write(&client->channel, json);
    channel_write(&client->channel, SLICE("\n"));
}

static void calls_done(struct collect *collect, void *context)
{
    struct json_writer w = json_writer_in(collect->arena);
    json_begin_object(&w);
    json_put_array(&w, "workers");
    for (const struct answer *answer = collect->answers; answer; answer = answer->next) {
        json_begin_object(&w);
        json_put_cstr(&w, "kind", service_facts(answer->kind)->name);
        json_put_i64(&w, "number", answer->number);
        json_put_i64(&w, "pid", answer->pid);
        json_put_raw(&w, "calls", answer->text);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    reply(context, json_done(&w));
}

/* An instance in hex, or a kind: all its processes, one after the other is the caller's business. */
static int drain(struct supervisor *supervisor, struct slice what)
{
    int count = 0;
    for (struct child *child = supervisor->fleet.children; child; child = child->next) {
        char hex[17];
        snprintf(hex, sizeof hex, "%016llx", (unsigned long long)child->peer.instance);
        if (child->state != CHILD_READY ||
            (!slice_eq(what, slice_from_cstr(hex)) && !slice_eq(what, slice_from_cstr(service_facts(child->post->kind)->name))))
            continue;
        fleet_replace(&supervisor->fleet, child);
        count++;
    }
    return count;
}

static void set_log_level(struct supervisor *supervisor, struct arena *arena, struct client *client, struct slice name)
{
    enum log_level level;
    if (!log_level_from_name(name, &level)) {
        reply(client, SLICE("{\"error\":\"levels are error, warn, info, debug\"}"));
        return;
    }
    log_set_level(level);
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "log_level");
    json_put_string(&w, "level", name);
    json_end_object(&w);
    fleet_tell(&supervisor->fleet, json_done(&w));
    reply(client, SLICE("{}"));
}

static void answer_settings(struct supervisor *supervisor, struct arena *arena, struct client *client)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "lines", supervisor->fleet.lines);
    json_put_cstr(&w, "data", supervisor->folder.path);
    json_end_object(&w);
    reply(client, json_done(&w));
}

static void take_request(struct client *client, struct arena *arena, const struct json *request)
{
    struct supervisor *supervisor = client->supervisor;
    struct slice what = json_get_string(request, "do");
    if (slice_eq(what, SLICE("status"))) {
        reply(client, status_json(supervisor, arena));
    } else if (slice_eq(what, SLICE("peers"))) {
        reply(client, fleet_peers_packet(&supervisor->fleet, arena));
    } else if (slice_eq(what, SLICE("settings"))) {
        answer_settings(supervisor, arena, client);
    } else if (slice_eq(what, SLICE("calls"))) {
        collect_start(supervisor, "calls", calls_done, client);
    } else if (slice_eq(what, SLICE("log_level"))) {
        set_log_level(supervisor, arena, client, json_get_string(request, "level"));
    } else if (slice_eq(what, SLICE("drain"))) {
        reply(client, arena_printf(arena, "{\"count\":%d}", drain(supervisor, json_get_string(request, "what"))));
    } else if (slice_eq(what, SLICE("reload"))) {
        supervisor_reload(supervisor);
        reply(client, SLICE("{}"));
    } else if (slice_eq(what, SLICE("stop"))) {
        supervisor_stop(supervisor);
        reply(client, SLICE("{}"));
    } else {
        reply(client, SLICE("{\"error\":\"this supervisor does not know that request\"}"));
    }
}

static bool take_lines(struct channel *channel)
{
    struct slice line, rest;
    while (channel->in.len && slice_cut(slice_of(channel->in.at, channel->in.len), '\n', &line, &rest)) {
        struct arena *arena = arena_create(ANSWER_MAX);
        const struct json *request = json_parse(arena, line, JSON_LAX, NULL);
        if (json_is(request, JSON_OBJECT))
            take_request((struct client *)channel, arena, request);
        else
            reply((struct client *)channel, SLICE("{\"error\":\"not a JSON object\"}"));
        arena_destroy(&arena);
        channel_consume(channel, line.len + 1);
    }
    return true;
}

static void client_gone(struct channel *channel)
{
    struct client *client = (struct client *)channel;
    collect_forget(client->supervisor, client);
    free(client);
}

static void accept_client(struct watch *watch, uint32_t events)
{
    int descriptor = accept4(watch->descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0)
        return;
    struct client *client = calloc(1, sizeof *client);
    ensure(client);
    client->supervisor = listener.supervisor;
    client->channel.take = take_lines;
    client->channel.closed = client_gone;
    channel_open(&client->channel, descriptor, LINE_MAX, ANSWER_MAX);
}

void tool_socket_open(struct supervisor *supervisor)
{
    const char *error, *path = arena_printf(supervisor->arena, "%s/run/supervisor.sock", supervisor->folder.path).at;
    listener.supervisor = supervisor;
    listener.watch = (struct watch){listen_unix(path, &error), accept_client};
    if (listener.watch.descriptor < 0)
        die("%s: %s", path, error);
    loop_add(&listener.watch, EPOLLIN);
}

void tool_socket_close(struct supervisor *supervisor)
{
    unlink(arena_printf(supervisor->arena, "%s/run/supervisor.sock", supervisor->folder.path).at);
}
