/* One child process and its control channel (lib/kit/control.h): starting it, understanding what it says, asking it to go. */
#include "supervisor/fleet.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/control.h"
#include "supervisor/confine.h"
#include "supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LEAVE_MS = 1000, OUT_MAX = 2 * CONTROL_PACKET_MAX };

const char *child_state_name(enum child_state state)
{
    static const char *const names[] = {"starting", "ready", "draining", "leaving"};
    return names[state];
}

void child_kill_at(struct child *child, int64_t kill_ms)
{
    if (!child->kill_ms || kill_ms < child->kill_ms)
        child->kill_ms = kill_ms;
}

/* Its calls are finished, or it cannot be talked to: nothing is lost when it ends now. */
static void child_leave(struct child *child)
{
    child->state = CHILD_LEAVING;
    kill(child->pid, SIGTERM);
    child_kill_at(child, clock_monotonic_ms() + LEAVE_MS);
}

void child_send(struct child *child, struct slice json)
{
    unsigned char length[4];
    ensure(json.len <= CONTROL_PACKET_MAX);
    control_length_write(length, json.len);
    channel_write(&child->channel, slice_of(length, sizeof length));
    channel_write(&child->channel, json);
}

static void copy_text(char *out, size_t size, struct slice text)
{
    snprintf(out, size, "%.*s", PRI(text));
}

static void take_ready(struct child *child, const struct json *packet)
{
    struct slice hex = json_get_string(packet, "instance"), version = json_get_string(packet, "version");
    char text[17] = "";
    if (hex.len == 16)
        copy_text(text, sizeof text, hex);
    uint64_t instance = strtoull(text, NULL, 16);
    if (!instance || child->state != CHILD_STARTING)
        return;
    child->peer.instance = instance;
    copy_text(child->peer.endpoint, sizeof child->peer.endpoint, json_get_string(packet, "endpoint"));
    copy_text(child->peer.publisher, sizeof child->peer.publisher, json_get_string(packet, "publisher"));
    copy_text(child->peer.version, sizeof child->peer.version, version.len ? version : SLICE(MYELIN_VERSION));
    child->state = CHILD_READY;
    child->ready_ms = clock_monotonic_ms();
    fleet_child_ready(child->fleet, child);
}

static void take_packet(struct child *child, const struct json *packet)
{
    struct slice type = json_get_string(packet, "type");
    fleet_child_heard(child->fleet, child);
    if (slice_eq(type, SLICE("load"))) {
        json_get_i64(packet, "queued", &child->queued);
        json_get_i64(packet, "running", &child->running);
    } else if (slice_eq(type, SLICE("ready"))) {
        take_ready(child, packet);
    } else if (slice_eq(type, SLICE("drained"))) {
        if (child->state != CHILD_LEAVING)
            child_leave(child);
    } else if (slice_eq(type, SLICE("metrics")) || slice_eq(type, SLICE("calls"))) {
        child->fleet->answered(child->fleet->context, child, packet);
    }
}

static bool take_bytes(struct channel *channel)
{
    struct child *child = (struct child *)channel;
    while (channel->in.len >= 4) {
        size_t len = control_length_read((const unsigned char *)channel->in.at);
        if (len > CONTROL_PACKET_MAX)
            return false;
        if (channel->in.len < 4 + len)
            break;
        struct arena *arena = arena_create(4 * CONTROL_PACKET_MAX);
        const struct json *packet = json_parse(arena, slice_of(channel->in.at + 4, len), JSON_LAX, NULL);
        if (json_is(packet, JSON_OBJECT))
            take_packet(child, packet);
        arena_destroy(&arena);
        channel_consume(channel, 4 + len);
    }
    return true;
}

static void channel_is_closed(struct channel *channel)
{
    child_leave((struct child *)channel);
}

static void send_settings(struct child *child)
{
    struct arena *arena = arena_create(CONTROL_PACKET_MAX);
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "settings");
    json_put_cstr(&w, "lines", child->fleet->lines);
    json_put_cstr(&w, "data", child->fleet->data);
    json_end_object(&w);
    child_send(child, json_done(&w));
    child_send(child, fleet_peers_packet(child->fleet, arena));
    arena_destroy(&arena);
}

struct child *child_start(struct post *post, struct fleet *fleet)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return NULL;
    char number[16];
    snprintf(number, sizeof number, "%d", post->number);
    const char *const arguments[] = {post->program, number, NULL};
    struct arena *scratch = arena_create(256 * 1024);
    int ruleset = confine_kind(scratch, post->kind, post->program, fleet->settings);
    arena_destroy(&scratch);
    pid_t pid = spawn_start(&(struct spawn){.arguments = arguments,
                                            .folder = fleet->data,
                                            .control = pair[1],
                                            .output = -1,
                                            .death_signal = SIGKILL,
                                            .low_ports = post->kind == SERVICE_frontend,
                                            .ruleset = ruleset});
    int why = errno;
    close(pair[1]);
    if (ruleset >= 0)
        close(ruleset);
    if (pid < 0) {
        log_event(LOG_ERROR, "a worker cannot be started", LOG_CSTR("worker", service_facts(post->kind)->name),
                  LOG_CSTR("why", strerror(why)));
        close(pair[0]);
        return NULL;
    }
    struct child *child = calloc(1, sizeof *child);
    ensure(child);
    child->fleet = fleet;
    child->post = post;
    child->serial = ++fleet->serials;
    child->pid = pid;
    child->peer.kind = post->kind;
    child->started_ms = child->heard_ms = clock_monotonic_ms();
    child->channel.take = take_bytes;
    child->channel.closed = channel_is_closed;
    channel_open(&child->channel, pair[0], CONTROL_PACKET_MAX + 4, OUT_MAX);
    send_settings(child);
    return child;
}

void child_drain(struct child *child, int64_t kill_ms)
{
    child_kill_at(child, kill_ms);
    if (child->state == CHILD_READY) {
        child->state = CHILD_DRAINING;
        child->peer.draining = true;
        child_send(child, SLICE("{\"type\":\"drain\"}"));
    } else if (child->state == CHILD_STARTING) {
        child_leave(child);
    }
}

void child_free(struct child *child)
{
    channel_close(&child->channel);
    free(child);
}
