/* `myelin status`, `worker list|drain`, `calls`, `log-level`: the running house as tables. */
#include "supervisor/tool.h"

#include "supervisor/say.h"

#include <stdio.h>

static int64_t number(const struct json *object, const char *key)
{
    int64_t value = 0;
    json_get_i64(object, key, &value);
    return value;
}

static const char *duration(struct arena *arena, int64_t ms)
{
    int64_t s = ms / 1000;
    if (s < 60)
        return arena_printf(arena, "%lld.%llds", (long long)s, (long long)(ms % 1000 / 100)).at;
    if (s < 3600)
        return arena_printf(arena, "%lldm%02llds", (long long)s / 60, (long long)s % 60).at;
    if (s < 48 * 3600)
        return arena_printf(arena, "%lldh%02lldm", (long long)s / 3600, (long long)s / 60 % 60).at;
    return arena_printf(arena, "%lldd%02lldh", (long long)s / 86400, (long long)s / 3600 % 24).at;
}

static void show_process(struct arena *arena, const struct json *process)
{
    struct slice kind = json_get_string(process, "kind"), instance = json_get_string(process, "instance");
    bool worker = !slice_is_absent(instance);
    printf("%-11.*s %-2s %8lld  %-16.*s  %-9.*s %8s %8lld", PRI(kind),
           worker ? arena_printf(arena, "%lld", (long long)number(process, "number")).at : "", (long long)number(process, "pid"),
           PRI(instance.len ? instance : SLICE("-")), PRI(json_get_string(process, "state")),
           duration(arena, number(process, "uptime_ms")), (long long)number(process, "restarts"));
    if (worker)
        printf(" %6lld %7lld", (long long)number(process, "queued"), (long long)number(process, "running"));
    else
        printf(" %6s %7s", "-", "-");
    printf(" %7.1f\n", (double)number(process, "rss_kb") / 1024);
}

int tool_status(struct arena *arena, const struct options *options)
{
    const struct json *status = tool_ask(arena, options, "{\"do\":\"status\"}");
    printf("%.*s, Myelin %.*s, database %s\n\n", PRI(json_get_string(status, "server_name")),
           PRI(json_get_string(status, "version")), json_get_bool(status, "database", false) ? "answers" : "DOES NOT ANSWER");
    printf("%-11s %-2s %8s  %-16s  %-9s %8s %8s %6s %7s %7s\n", "kind", "", "pid", "instance", "state", "uptime", "restarts",
           "queued", "running", "RSS MB");
    json_each (process, json_get_array(status, "processes"))
        show_process(arena, process);
    json_each (worker, json_get_array(status, "elsewhere"))
        printf("%-11.*s on %.*s at %.*s\n", PRI(json_get_string(worker, "kind")), PRI(json_get_string(worker, "host")),
               PRI(json_get_string(worker, "endpoint")));
    return 0;
}

static int worker_list(struct arena *arena, const struct options *options)
{
    const struct json *answer = tool_ask(arena, options, "{\"do\":\"peers\"}");
    printf("%-11s %-16s  %-8s %-8s  %s\n", "kind", "instance", "version", "state", "endpoint");
    json_each (peer, json_get_array(answer, "peers"))
        printf("%-11.*s %.*s  %-8.*s %-8s  %.*s\n", PRI(json_get_string(peer, "kind")), PRI(json_get_string(peer, "instance")),
               PRI(json_get_string(peer, "version")), json_get_bool(peer, "draining", false) ? "draining" : "live",
               PRI(json_get_string(peer, "endpoint")));
    return 0;
}

static const char *request_with(struct arena *arena, const char *what, const char *key, const char *value)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "do", what);
    json_put_cstr(&w, key, value);
    json_end_object(&w);
    return arena_cstr(arena, json_done(&w));
}

int tool_worker(struct arena *arena, const struct options *options)
{
    const char *what = options->word_count > 1 ? options->words[1] : "";
    if (strcmp(what, "list") == 0 && options->word_count == 2)
        return worker_list(arena, options);
    if (strcmp(what, "drain") != 0 || options->word_count != 3)
        die("worker list, or worker drain INSTANCE|KIND");
    const struct json *answer = tool_ask(arena, options, request_with(arena, "drain", "what", options->words[2]));
    if (!number(answer, "count"))
        die("no worker that takes calls is called %s", options->words[2]);
    printf("%lld draining: each finishes its calls when its successor is ready\n", (long long)number(answer, "count"));
    return 0;
}

int tool_calls(struct arena *arena, const struct options *options)
{
    const struct json *answer = tool_ask(arena, options, "{\"do\":\"calls\"}");
    json_each (worker, json_get_array(answer, "workers")) {
        struct slice kind = json_get_string(worker, "kind");
        json_each (call, json_get_array(worker, "calls"))
            printf("%-11.*s %lld %8lld  %.*s\n", PRI(kind), (long long)number(worker, "number"), (long long)number(worker, "pid"),
                   PRI(call->span));
    }
    return 0;
}

int tool_log_level(struct arena *arena, const struct options *options)
{
    if (options->word_count != 2)
        die("log-level error|warn|info|debug");
    tool_ask(arena, options, request_with(arena, "log_level", "level", options->words[1]));
    return 0;
}
