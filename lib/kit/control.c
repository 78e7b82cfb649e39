/* The child's side of the control channel: settings and peers come in, heartbeats, metrics and the list of running calls go out.
 * One thread does all of it, so that a worker whose handlers are all busy still answers; when that thread cannot run either, the
 * heartbeat stops and the supervisor kills the process. When the channel closes nobody is left to watch us, and we end. */
#include "lib/kit/control.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/metrics.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ATTACH_TIMEOUT_MS = 10000,
    HEARTBEAT_MS = 1000,
    LINES_MAX = 1024,
    SETTINGS_BYTES = 16 * 1024 * 1024,
    SETTINGS_KEPT_MS = 3600 * 1000, /* no call lasts so long */
};

struct control {
    int descriptor;
    struct control_events events;
    pthread_mutex_t lock; /* peers */
    const struct peers *peers;
    _Atomic(const struct settings *) settings;
    struct version *versions; /* of the settings, the newest first; the control thread's */
    struct arena *scratch;    /* one packet */
};

/* Settings, and what they point to. */
struct version {
    struct version *older;
    struct arena *arena;
    struct slice lines;
    int64_t replaced_ms; /* 0: it is the newest */
};

/* ---- lists of peers: shared by reference, freed by the last one to let go */

struct held {
    _Alignas(16) atomic_int references;
};

static struct peers *peers_create(size_t count)
{
    struct held *held = calloc(1, sizeof *held + sizeof(struct peers) + count * sizeof(struct peer));
    ensure(held);
    held->references = 1;
    struct peers *peers = (struct peers *)(held + 1);
    peers->count = 0;
    return peers;
}

void control_peers_release(const struct peers *peers)
{
    if (!peers)
        return;
    struct held *held = (struct held *)(uintptr_t)peers - 1;
    if (atomic_fetch_sub(&held->references, 1) == 1)
        free(held);
}

const struct peers *control_peers(struct control *control)
{
    pthread_mutex_lock(&control->lock);
    const struct peers *peers = control->peers;
    atomic_fetch_add(&((struct held *)(uintptr_t)peers - 1)->references, 1);
    pthread_mutex_unlock(&control->lock);
    return peers;
}

static bool copy_text(char *out, size_t size, struct slice text)
{
    if (text.len >= size || slice_has_nul(text))
        return false;
    if (text.len)
        memcpy(out, text.at, text.len);
    out[text.len] = '\0';
    return true;
}

static bool instance_parse(struct slice hex, uint64_t *out)
{
    char text[17], *end;
    if (hex.len != 16 || !copy_text(text, sizeof text, hex))
        return false;
    *out = strtoull(text, &end, 16);
    return *end == '\0' && *out != 0;
}

/* A peer of a kind that we do not know yet belongs to a newer version: nobody here would call it, so it is left out. */
static bool peer_parse(struct arena *arena, const struct json *json, struct peer *out)
{
    struct slice kind = json_get_string(json, "kind");
    return instance_parse(json_get_string(json, "instance"), &out->instance) && !slice_is_absent(kind) &&
           service_from_name(arena_cstr(arena, kind), &out->kind) &&
           copy_text(out->endpoint, sizeof out->endpoint, json_get_string(json, "endpoint")) &&
           copy_text(out->publisher, sizeof out->publisher, json_get_string(json, "publisher")) &&
           copy_text(out->version, sizeof out->version, json_get_string(json, "version")) &&
           ((out->draining = json_get_bool(json, "draining", false)), true);
}

static void take_peers(struct control *control, const struct json *packet)
{
    const struct json *list = json_get_array(packet, "peers");
    struct peers *made = peers_create(list ? list->count : 0);
    int64_t generation = 0;
    json_get_i64(packet, "generation", &generation);
    made->generation = (uint64_t)generation;
    json_each (item, list)
        if (peer_parse(control->scratch, item, &made->at[made->count]))
            made->count++;
    pthread_mutex_lock(&control->lock);
    const struct peers *old = control->peers;
    control->peers = made;
    pthread_mutex_unlock(&control->lock);
    control_peers_release(old);
}

/* ---- settings */

static void version_free(struct version *version)
{
    struct arena *arena = version->arena; /* it lies in there itself */
    arena_destroy(&arena);
}

/* The first one stays: what was made at the start may point into it. Those between go when nobody can be using them any more. */
static void forget_old_settings(struct control *control, int64_t now_ms)
{
    for (struct version **place = &control->versions; *place && (*place)->older;) {
        struct version *version = *place;
        if (version->replaced_ms && now_ms - version->replaced_ms > SETTINGS_KEPT_MS) {
            *place = version->older;
            version_free(version);
        } else {
            place = &version->older;
        }
    }
}

static void keep_version(struct control *control, struct arena *arena, struct slice lines)
{
    struct version *version = arena_new(arena, struct version);
    *version = (struct version){.older = control->versions, .arena = arena, .lines = arena_copy(arena, lines)};
    if (version->older)
        version->older->replaced_ms = clock_monotonic_ms();
    control->versions = version;
    forget_old_settings(control, clock_monotonic_ms());
}

/* The same lines again are no new settings. */
static bool take_settings(struct control *control, const struct json *packet)
{
    const char *overrides[LINES_MAX], *error;
    size_t count = 0;
    struct slice lines = json_get_string(packet, "lines"), rest = lines, line, data = json_get_string(packet, "data");
    if (control->versions && slice_is_absent(data) && slice_eq(lines, control->versions->lines))
        return true;
    while (rest.len && count < LINES_MAX && slice_cut(rest, '\n', &line, &rest))
        overrides[count++] = arena_cstr(control->scratch, line);
    struct arena *arena = arena_create(SETTINGS_BYTES);
    struct settings *made = arena_new(arena, struct settings);
    if (!settings_load(arena, NULL, overrides, count, made, &error)) {
        log_event(LOG_ERROR, "the supervisor's settings are refused", LOG_CSTR("why", error));
        arena_destroy(&arena);
        return false;
    }
    const struct settings *old = atomic_load(&control->settings);
    made->data_folder = arena_cstr(arena, !slice_is_absent(data) ? data : slice_from_cstr(old ? old->data_folder : ""));
    atomic_store(&control->settings, made);
    keep_version(control, arena, lines);
    enum log_level level;
    if (log_level_from_name(slice_from_cstr(made->log_level), &level))
        log_set_level(level);
    return true;
}

const struct settings *control_settings(const struct control *control)
{
    return atomic_load(&control->settings);
}

/* ---- what we tell */

static void send_object(struct control *control, struct json_writer *w)
{
    json_end_object(w);
    if (!control_send(control->descriptor, json_done(w)))
        log_event(LOG_WARN, "the control channel is closed");
}

static struct json_writer begin_object(struct arena *arena, const char *type)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "type", type);
    return w;
}

static void send_load(struct control *control)
{
    int64_t queued = 0, running = 0;
    if (control->events.load)
        control->events.load(&queued, &running, control->events.context);
    struct json_writer w = begin_object(control->scratch, "load");
    json_put_i64(&w, "queued", queued);
    json_put_i64(&w, "running", running);
    send_object(control, &w);
}

static void answer_metrics(struct control *control, int64_t id)
{
    struct strbuf text = strbuf_in(control->scratch);
    metrics_write(&text);
    struct json_writer w = begin_object(control->scratch, "metrics");
    json_put_i64(&w, "id", id);
    json_put_string(&w, "text", text.len ? strbuf_slice(&text) : SLICE(""));
    send_object(control, &w);
}

static void answer_calls(struct control *control, int64_t id)
{
    struct slice calls = SLICE_ABSENT;
    if (control->events.calls)
        calls = control->events.calls(control->scratch, control->events.context);
    struct json_writer w = begin_object(control->scratch, "calls");
    json_put_i64(&w, "id", id);
    json_put_raw(&w, "calls", slice_is_absent(calls) ? SLICE("[]") : calls);
    send_object(control, &w);
}

void control_ready(struct control *control, uint64_t instance, const char *endpoint, const char *publisher)
{
    struct arena *arena = arena_create(64 * 1024);
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)instance);
    struct json_writer w = begin_object(arena, "ready");
    json_put_cstr(&w, "instance", hex);
    json_put_cstr(&w, "endpoint", endpoint);
    json_put_cstr(&w, "publisher", publisher ? publisher : "");
    json_put_cstr(&w, "version", MYELIN_VERSION);
    send_object(control, &w);
    arena_destroy(&arena);
}

void control_drained(struct control *control)
{
    control_send(control->descriptor, SLICE("{\"type\":\"drained\"}"));
}

/* ---- what we are told */

static bool packet_is(const struct json *packet, const char *type)
{
    return slice_eq(json_get_string(packet, "type"), slice_from_cstr(type));
}

static void take_packet(struct control *control, const struct json *packet)
{
    const struct control_events *events = &control->events;
    int64_t id = 0;
    json_get_i64(packet, "id", &id);
    if (packet_is(packet, "peers")) {
        take_peers(control, packet);
        if (events->peers)
            events->peers(events->context);
    } else if (packet_is(packet, "drain")) {
        if (events->drain)
            events->drain(events->context);
    } else if (packet_is(packet, "metrics")) {
        answer_metrics(control, id);
    } else if (packet_is(packet, "calls")) {
        answer_calls(control, id);
    } else if (packet_is(packet, "log_level")) {
        enum log_level level;
        if (log_level_from_name(json_get_string(packet, "level"), &level))
            log_set_level(level);
    } else if (packet_is(packet, "reload")) {
        if (!slice_is_absent(json_get_string(packet, "lines")) && !take_settings(control, packet))
            return; /* keeps the old ones */
        if (events->reload)
            events->reload(events->context);
    }
}

/* The next packet as JSON, NULL when the channel is closed or deadline_ms has passed. Packets that are not JSON objects are
 * skipped. */
static const struct json *receive(struct control *control, int64_t deadline_ms)
{
    for (;;) {
        struct pollfd readable = {.fd = control->descriptor, .events = POLLIN};
        int64_t left = deadline_ms - clock_monotonic_ms();
        int found = poll(&readable, 1, left > 0 ? (int)left : 0);
        if (found < 0 && errno == EINTR)
            continue;
        struct slice text;
        if (found <= 0 || !control_receive(control->descriptor, control->scratch, &text))
            return NULL;
        const struct json *packet = json_parse(control->scratch, text, JSON_LAX, NULL);
        if (json_is(packet, JSON_OBJECT))
            return packet;
    }
}

static void *control_thread(void *context)
{
    struct control *control = context;
    for (int64_t beat_ms = clock_monotonic_ms();;) {
        arena_reset(control->scratch);
        int64_t now_ms = clock_monotonic_ms();
        if (now_ms >= beat_ms) {
            if (!control->events.is_alive || control->events.is_alive(control->events.context))
                send_load(control);
            else
                log_event(LOG_ERROR, "stuck: no heartbeat");
            beat_ms = now_ms + HEARTBEAT_MS;
        }
        const struct json *packet = receive(control, beat_ms);
        if (packet)
            take_packet(control, packet);
        else if (clock_monotonic_ms() < beat_ms)
            break;
    }
    log_event(LOG_WARN, "the supervisor is gone, this process ends");
    _exit(0);
}

static struct control *refuse(struct control *control, const char *why)
{
    log_event(LOG_ERROR, "no settings on the control channel; workers are started by `myelin up`", LOG_CSTR("why", why));
    control_peers_release(control->peers);
    while (control->versions) {
        struct version *version = control->versions;
        control->versions = version->older;
        version_free(version);
    }
    arena_destroy(&control->scratch);
    free(control);
    return NULL;
}

struct control *control_attach(int descriptor, const struct control_events *events)
{
    struct control *control = calloc(1, sizeof *control);
    ensure(control);
    control->descriptor = descriptor;
    control->events = *events;
    pthread_mutex_init(&control->lock, NULL);
    control->scratch = arena_create(4 * CONTROL_PACKET_MAX);
    control->peers = peers_create(0);

    int64_t deadline_ms = clock_monotonic_ms() + ATTACH_TIMEOUT_MS;
    for (bool have_peers = false; !have_peers;) {
        const struct json *packet = receive(control, deadline_ms);
        if (!packet)
            return refuse(control, "time-out, or the channel is closed");
        if (packet_is(packet, "settings")) {
            if (!take_settings(control, packet))
                return refuse(control, "unacceptable settings");
        } else if (packet_is(packet, "peers") && control_settings(control)) {
            take_peers(control, packet);
            have_peers = true;
        }
    }
    pthread_t thread;
    ensure(pthread_create(&thread, NULL, control_thread, control) == 0);
    pthread_setname_np(thread, "control");
    pthread_detach(thread);
    return control;
}
