/* The supervisor's life once everything is prepared: signals, heartbeats, restarts; and its end, which drains the house from the
 * front door to the database. */
#include "supervisor/supervisor.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "supervisor/say.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SOON_MS = 20,
    IDLE_MS = 1000,
    /* The end, ten seconds at most: frontends get three to finish what they hold, each rank behind them one, all together seven. */
    FRONT_MS = 3000,
    RANK_MS = 1000,
    CHILDREN_MS = 7000,
    DATABASE_FAST_MS = 2000,
    RANK_LAST = 8,
};

static struct {
    struct watch watch;
    struct supervisor *supervisor;
} signals;

/* ---- the end */

void supervisor_stop(struct supervisor *supervisor)
{
    if (supervisor->stop_rank >= 0) { /* asked twice: now */
        for (struct child *child = supervisor->fleet.children; child; child = child->next)
            kill(child->pid, SIGKILL);
        if (supervisor->stop_database && supervisor->private_postgres)
            postgres_stop(&supervisor->postgres, true);
        return;
    }
    say("Stopping.");
    log_event(LOG_INFO, "stopping");
    supervisor->fleet.stopping = true;
    supervisor->stop_rank = 0;
    supervisor->stop_ms = clock_monotonic_ms();
    fleet_drain_rank(&supervisor->fleet, 0, supervisor->stop_ms + FRONT_MS);
}

/* Our rows leave the registry, so that others need not find out by silence; but this is not worth waiting for. */
static bool registry_is_clean(struct supervisor *supervisor, int64_t now_ms)
{
    const struct registry *registry = &supervisor->registry;
    bool said = registry->state == REGISTRY_IDLE && !registry->gone_count && !registry->announce && !registry->changed;
    return said || registry->state == REGISTRY_AWAY || now_ms - supervisor->rank_ms > 500;
}

static void stop_tick(struct supervisor *supervisor, int64_t now_ms)
{
    while (supervisor->stop_rank >= 0 && supervisor->stop_rank <= RANK_LAST &&
           fleet_rank_is_gone(&supervisor->fleet, supervisor->stop_rank)) {
        int64_t last_ms = supervisor->stop_ms + CHILDREN_MS, rank_ms = now_ms + RANK_MS;
        supervisor->rank_ms = now_ms;
        if (++supervisor->stop_rank <= RANK_LAST && !fleet_rank_is_gone(&supervisor->fleet, supervisor->stop_rank))
            fleet_drain_rank(&supervisor->fleet, supervisor->stop_rank, rank_ms < last_ms ? rank_ms : last_ms);
    }
    if (supervisor->stop_rank <= RANK_LAST)
        return;
    if (!supervisor->stop_database) {
        if (!registry_is_clean(supervisor, now_ms))
            return;
        registry_finish(&supervisor->registry);
        supervisor->stop_database = true;
        supervisor->rank_ms = now_ms;
        if (supervisor->private_postgres)
            postgres_stop(&supervisor->postgres, false);
    }
    if (supervisor->private_postgres && supervisor->postgres.pid) {
        if (now_ms - supervisor->rank_ms > DATABASE_FAST_MS) {
            supervisor->rank_ms = now_ms;
            postgres_stop(&supervisor->postgres, true);
        }
        return;
    }
    supervisor->over = true;
}

/* ---- signals */

static void reap(struct supervisor *supervisor)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) /* also strangers, when we are the first process of a container */
        if (!fleet_ended(&supervisor->fleet, pid, status))
            postgres_ended(&supervisor->postgres, pid, status);
}

void supervisor_reload(struct supervisor *supervisor)
{
    const struct options *options = supervisor->options;
    const char *error,
        *file = options->config ? options->config : arena_printf(supervisor->arena, "%s/config.yaml", supervisor->folder.real).at;
    struct settings fresh;
    if (!settings_load(supervisor->arena, file, options->overrides, options->override_count, &fresh, &error)) {
        log_event(LOG_ERROR, "the new configuration is refused, the old one stays", LOG_CSTR("why", error));
        return;
    }
    /* What cannot change while running. */
    fresh.server_name = supervisor->settings.server_name;
    fresh.database_url = supervisor->settings.database_url;
    fresh.database_logins = supervisor->settings.database_logins;
    fresh.data_folder = supervisor->settings.data_folder;
    memcpy(fresh.replicas_of, supervisor->settings.replicas_of, sizeof fresh.replicas_of);
    supervisor->settings = fresh;
    enum log_level level;
    if (log_level_from_name(slice_from_cstr(fresh.log_level), &level))
        log_set_level(level);
    fleet_settings_changed(&supervisor->fleet);
    struct arena *arena = arena_create(1024 * 1024);
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "reload");
    json_put_cstr(&w, "lines", supervisor->fleet.lines);
    json_end_object(&w);
    fleet_tell(&supervisor->fleet, json_done(&w));
    arena_destroy(&arena);
    log_event(LOG_INFO, "configuration read again");
}

static void take_signals(struct watch *watch, uint32_t events)
{
    struct signalfd_siginfo info;
    struct supervisor *supervisor = signals.supervisor;
    while (read(watch->descriptor, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(supervisor);
        else if (info.ssi_signo == SIGHUP)
            supervisor_reload(supervisor);
        else
            supervisor_stop(supervisor);
    }
}

static void open_signals(struct supervisor *supervisor)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGHUP);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    signals.supervisor = supervisor;
    signals.watch = (struct watch){signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK), take_signals};
    ensure(signals.watch.descriptor >= 0);
    loop_add(&signals.watch, EPOLLIN);
}

/* ---- what the fleet tells */

static void on_changed(void *context, uint64_t gone_instance)
{
    struct supervisor *supervisor = context;
    registry_changed(&supervisor->registry, gone_instance);
}

static void on_answered(void *context, struct child *child, const struct json *packet)
{
    collect_answer(context, child, packet);
}

static void on_ended(void *context, struct child *child)
{
    collect_child_gone(context, child);
}

/* address:port[,tls|,plain],… as URLs. */
static void say_listeners(const char *label, const char *listen)
{
    struct slice rest = slice_from_cstr(listen), item, next, ignored;
    while (rest.len) {
        if (!slice_cut(rest, ',', &item, &rest)) {
            item = rest;
            rest.len = 0;
        }
        if (!slice_cut(rest, ',', &next, &ignored))
            next = rest;
        item = slice_trim(item);
        if (item.len && !slice_eq(item, SLICE("tls")) && !slice_eq(item, SLICE("plain")))
            say("  %-12s%s://%.*s", label, slice_eq(slice_trim(next), SLICE("tls")) ? "https" : "http", PRI(item));
    }
}

static void announce(struct supervisor *supervisor)
{
    char program[4096];
    const struct settings *settings = &supervisor->settings;
    if (supervisor->announced || !fleet_is_ready(&supervisor->fleet))
        return;
    supervisor->announced = true;
    int64_t ms = clock_monotonic_ms() - supervisor->started_ms;
    log_event(LOG_INFO, "ready", LOG_CSTR("server_name", settings->server_name), LOG_I64("ms", ms));
    ssize_t len = readlink("/proc/self/exe", program, sizeof program);
    say("Myelin is ready: %s (after %.1f s)", settings->server_name, (double)ms / 1000);
    if (settings->replicas_of[SERVICE_frontend]) {
        say_listeners("clients", settings->client_listen);
        say_listeners("federation", settings->federation_listen);
    }
    if (settings->metrics_listen[0])
        say("  %-12shttp://%s/metrics and /health", "operators", settings->metrics_listen);
    say("  %-12s%s", "data", supervisor->folder.real);
    say("Create a user:\n  %.*s user add NAME --data %s", len > 0 ? (int)len : 6, len > 0 ? program : "myelin",
        supervisor->folder.real);
}

int supervisor_run(struct supervisor *supervisor)
{
    malloc_trim(0); /* from now on little is needed, for long */
    loop_init();
    open_signals(supervisor);
    supervisor->fleet.changed = on_changed;
    supervisor->fleet.answered = on_answered;
    supervisor->fleet.ended = on_ended;
    supervisor->fleet.context = supervisor;
    registry_init(&supervisor->registry, &supervisor->fleet, supervisor->url);
    tool_socket_open(supervisor);
    http_open(supervisor);
    fleet_start(&supervisor->fleet);
    reap(supervisor); /* what ended before its signal was blocked */
    while (!supervisor->over) {
        int64_t now_ms = clock_monotonic_ms();
        bool soon = fleet_tick(&supervisor->fleet, now_ms);
        if (supervisor->private_postgres)
            soon |= postgres_tick(&supervisor->postgres, now_ms);
        registry_tick(&supervisor->registry, now_ms);
        collect_tick(supervisor, now_ms);
        announce(supervisor);
        stop_tick(supervisor, now_ms);
        int64_t beat_ms =
            supervisor->registry.state == REGISTRY_AWAY ? supervisor->registry.retry_ms : supervisor->registry.beat_ms;
        int64_t wait_ms = beat_ms > now_ms && beat_ms - now_ms < IDLE_MS ? beat_ms - now_ms : IDLE_MS;
        soon |= supervisor->collects || supervisor->stop_rank >= 0;
        if (!supervisor->over)
            loop_once(soon ? SOON_MS : (int)wait_ms + 1);
    }
    tool_socket_close(supervisor);
    folder_leave(&supervisor->folder);
    say("Stopped.");
    log_event(LOG_INFO, "stopped", LOG_I64("ms", clock_monotonic_ms() - supervisor->stop_ms));
    return 0;
}
