/* What runs here and how it is: for `myelin status` and /health. */
#include "supervisor/supervisor.h"

#include "lib/base/clock.h"

#include <stdio.h>
#include <unistd.h>

static int64_t resident_kb(pid_t pid)
{
    char path[64];
    long long size, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lld %lld", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void put_process(struct json_writer *w, const char *kind, int number, pid_t pid, const char *state, int64_t uptime_ms,
                        int restarts)
{
    json_put_cstr(w, "kind", kind);
    json_put_i64(w, "number", number);
    json_put_i64(w, "pid", pid);
    json_put_cstr(w, "state", state);
    json_put_i64(w, "uptime_ms", uptime_ms);
    json_put_i64(w, "restarts", restarts);
    json_put_i64(w, "rss_kb", pid ? resident_kb(pid) : 0);
}

static void put_child(struct json_writer *w, const struct child *child, int64_t now_ms)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)child->peer.instance);
    json_begin_object(w);
    put_process(w, service_facts(child->post->kind)->name, child->post->number, child->pid,
                child->silent ? "silent" : child_state_name(child->state), now_ms - child->started_ms, child->post->restarts);
    json_put_cstr(w, "instance", child->peer.instance ? hex : "");
    json_put_cstr(w, "endpoint", child->peer.endpoint);
    json_put_i64(w, "queued", child->queued);
    json_put_i64(w, "running", child->running);
    json_end_object(w);
}

struct slice status_json(struct supervisor *supervisor, struct arena *arena)
{
    int64_t now_ms = clock_monotonic_ms();
    const struct fleet *fleet = &supervisor->fleet;
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "server_name", supervisor->settings.server_name);
    json_put_cstr(&w, "version", MYELIN_VERSION);
    json_put_bool(&w, "database", registry_answers(&supervisor->registry, now_ms));
    json_put_array(&w, "processes");
    json_begin_object(&w);
    put_process(&w, "supervisor", 0, getpid(), supervisor->stop_rank < 0 ? "ready" : "stopping", now_ms - supervisor->started_ms,
                0);
    json_end_object(&w);
    if (supervisor->private_postgres) {
        json_begin_object(&w);
        put_process(&w, "postgres", 0, supervisor->postgres.pid, supervisor->postgres.pid ? "ready" : "down",
                    now_ms - supervisor->postgres.started_ms, supervisor->postgres.restarts);
        json_end_object(&w);
    }
    for (int kind = 0; kind < SERVICE_COUNT; kind++)
        for (const struct child *child = fleet->children; child; child = child->next)
            if ((int)child->post->kind == kind)
                put_child(&w, child, now_ms);
    for (size_t i = 0; i < fleet->post_count; i++) {
        if (!fleet->posts[i].start_ms)
            continue;
        json_begin_object(&w);
        put_process(&w, service_facts(fleet->posts[i].kind)->name, fleet->posts[i].number, 0, "waiting", 0,
                    fleet->posts[i].restarts);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_put_array(&w, "elsewhere");
    for (size_t i = 0; i < fleet->remote_count; i++) {
        json_begin_object(&w);
        json_put_cstr(&w, "kind", service_facts(fleet->remote[i].peer.kind)->name);
        json_put_cstr(&w, "host", fleet->remote[i].host);
        json_put_cstr(&w, "endpoint", fleet->remote[i].peer.endpoint);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    return json_done(&w);
}

struct slice health_json(struct supervisor *supervisor, struct arena *arena, bool *healthy)
{
    bool database = registry_answers(&supervisor->registry, clock_monotonic_ms());
    bool seen[SERVICE_COUNT] = {false};
    struct json_writer w = json_writer_in(arena);
    *healthy = database && supervisor->stop_rank < 0;
    for (size_t i = 0; i < supervisor->fleet.post_count; i++)
        seen[supervisor->fleet.posts[i].kind] = true;
    for (int kind = 0; kind < SERVICE_COUNT; kind++)
        *healthy = *healthy && (!seen[kind] || fleet_kind_is_up(&supervisor->fleet, (enum service)kind));
    json_begin_object(&w);
    json_put_cstr(&w, "status", *healthy ? "ok" : supervisor->stop_rank >= 0 ? "stopping" : "unavailable");
    json_put_bool(&w, "database", database);
    json_put_object(&w, "workers");
    for (int kind = 0; kind < SERVICE_COUNT; kind++)
        if (seen[kind])
            json_put_bool(&w, service_facts((enum service)kind)->name, fleet_kind_is_up(&supervisor->fleet, (enum service)kind));
    json_end_object(&w);
    json_end_object(&w);
    return json_done(&w);
}
