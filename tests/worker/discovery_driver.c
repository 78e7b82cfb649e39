/* Discovery's steps without the worker around them, for test_discovery.py: settings as arguments (key=value, and hosts=PATH),
 * commands on stdin, one JSON object per command on stdout. resolve NAME [refresh] [timeout_ms] fetch [authority-less]        GET
 * /version where the last answer says, addresses in order clock MS                      the caches' clock goes on together N NAME
 * N threads resolve the name at once bench COUNT THREADS PATTERN   look-ups per second; %d in the pattern is the number bench-fetch
 * COUNT             of the last answer, one connection */
#include "lib/base/clock.h"
#include "lib/base/json.h"
#include "lib/base/log.h"
#include "workers/discovery/discovery.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BYTES = 64 * 1024 * 1024, THREADS_MAX = 256, TIMEOUT_MS = 20000 };

static struct discovery *discovery;
static struct http_client *http;
static atomic_llong clock_ms;
static struct arena *kept; /* the last answer */
static struct resolve_reply last;
static enum fault last_fault;

static int64_t wall_ms(void)
{
    return clock_ms;
}

static void print(struct json_writer *w)
{
    json_end_object(w);
    struct slice line = json_done(w);
    printf("%.*s\n", PRI(line));
    fflush(stdout);
}

static void run_resolve(char *name, bool refresh, int timeout_ms)
{
    struct slice why = SLICE_ABSENT;
    struct resolve_request request = {.server_name = slice_from_cstr(name), .refresh = refresh};
    arena_reset(kept);
    last = (struct resolve_reply){.valid_until_ms = 0};
    last_fault = discovery_resolve(discovery, kept, &request, clock_monotonic_ms() + timeout_ms, &last, &why);
    struct json_writer w = json_writer_in(kept);
    json_begin_object(&w);
    json_put_cstr(&w, "fault", fault_facts(last_fault)->name);
    json_put_string(&w, "why", why);
    json_put_array(&w, "addresses");
    for (size_t i = 0; i < last.addresses.len; i++) {
        json_add_string(&w, arena_printf(kept, "%.*s %d", PRI(last.addresses.at[i]), (int)last.ports.at[i]));
    }
    json_end_array(&w);
    json_put_string(&w, "host", last.host_header);
    json_put_string(&w, "certificate", last.certificate_name);
    json_put_string(&w, "steps", last.steps);
    json_put_i64(&w, "valid_ms", last.valid_until_ms - wall_ms());
    print(&w);
}

static enum fault fetch_last(struct arena *arena, struct http_answer *answer)
{
    enum fault fault = FAULT_PEER;
    for (size_t i = 0; fault && i < last.addresses.len; i++) {
        struct http_fetch request = {.method = SLICE("GET"),
                                     .certificate_name = last.certificate_name,
                                     .host_header = last.host_header,
                                     .address = last.addresses.at[i],
                                     .port = (int)last.ports.at[i],
                                     .uri = SLICE("/_matrix/federation/v1/version"),
                                     .deadline_ms = clock_monotonic_ms() + TIMEOUT_MS,
                                     .size_max = 1 << 20};
        fault = http_fetch(http, arena, &request, answer);
    }
    return fault;
}

static void run_fetch(void)
{
    struct http_answer answer = {.error = "nowhere to go"};
    struct arena *arena = arena_create(ARENA_BYTES);
    enum fault fault = fetch_last(arena, &answer);
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "fault", fault_facts(fault)->name);
    json_put_i64(&w, "status", answer.status);
    json_put_bool(&w, "blocked", answer.blocked);
    if (fault && answer.error)
        json_put_cstr(&w, "error", answer.error);
    print(&w);
    arena_destroy(&arena);
}

struct load {
    const char *pattern;
    atomic_int next, good;
    int count;
};

static void *run_load(void *context)
{
    struct load *load = context;
    struct arena *arena = arena_create(ARENA_BYTES);
    for (int i; (i = load->next++) < load->count;) {
        char name[300];
        const char *mark = strstr(load->pattern, "%d");
        if (mark)
            snprintf(name, sizeof name, "%.*s%d%s", (int)(mark - load->pattern), load->pattern, i, mark + 2);
        else
            snprintf(name, sizeof name, "%s", load->pattern);
        struct resolve_request request = {.server_name = slice_from_cstr(name)};
        struct resolve_reply reply;
        struct slice why;
        load->good += discovery_resolve(discovery, arena, &request, clock_monotonic_ms() + TIMEOUT_MS, &reply, &why) == FAULT_OK;
        arena_reset(arena);
    }
    arena_destroy(&arena);
    return NULL;
}

static void run_threads(const char *pattern, int count, int threads)
{
    pthread_t ids[THREADS_MAX];
    struct load load = {.pattern = pattern, .count = count};
    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    int64_t start_us = clock_monotonic_us();
    for (int i = 0; i < threads; i++)
        pthread_create(&ids[i], NULL, run_load, &load);
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    printf("{\"good\":%d,\"us\":%lld}\n", load.good, (long long)(clock_monotonic_us() - start_us));
    fflush(stdout);
}

static void run_fetches(int count)
{
    struct arena *arena = arena_create(ARENA_BYTES);
    struct http_answer answer;
    int good = 0;
    int64_t start_us = clock_monotonic_us();
    for (int i = 0; i < count; i++) {
        good += fetch_last(arena, &answer) == FAULT_OK;
        arena_reset(arena);
    }
    printf("{\"good\":%d,\"us\":%lld}\n", good, (long long)(clock_monotonic_us() - start_us));
    fflush(stdout);
    arena_destroy(&arena);
}

static void run(char *line)
{
    char command[32] = "", text[300] = "", flag[32] = "";
    int a = 0, b = 0, milliseconds = TIMEOUT_MS;
    if (sscanf(line, "resolve %299s %31s %d", text, flag, &milliseconds) >= 1)
        run_resolve(text, strcmp(flag, "refresh") == 0, milliseconds);
    else if (sscanf(line, "clock %d", &a) == 1)
        printf("{\"now\":%lld}\n", (long long)atomic_fetch_add(&clock_ms, a) + a);
    else if (sscanf(line, "together %d %299s", &a, text) == 2)
        run_threads(text, a, a);
    else if (sscanf(line, "bench %d %d %299s", &a, &b, text) == 3)
        run_threads(text, a, b);
    else if (sscanf(line, "bench-fetch %d", &a) == 1)
        run_fetches(a);
    else if (sscanf(line, "%31s", command) == 1 && strcmp(command, "fetch") == 0)
        run_fetch();
    else
        printf("{\"error\":\"what?\"}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct arena *arena = arena_create(ARENA_BYTES);
    struct settings settings;
    const char *error, *overrides[64], *hosts_path = NULL;
    size_t count = 0;
    char line[512];
    log_init("discovery-driver", LOG_WARN);
    kept = arena_create(ARENA_BYTES);
    clock_ms = clock_wall_ms();
    overrides[count++] = "server_name=test.example";
    for (int i = 1; i < argc && count < 64; i++) {
        if (strncmp(argv[i], "hosts=", 6) == 0)
            hosts_path = argv[i] + 6;
        else
            overrides[count++] = argv[i];
    }
    if (!settings_load(arena, NULL, overrides, count, &settings, &error)) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    http = http_client_create(&settings);
    discovery = discovery_create(
        &(struct discovery_options){.settings = &settings, .http = http, .hosts_path = hosts_path, .wall_ms = wall_ms});
    while (fgets(line, sizeof line, stdin))
        run(line);
    arena_destroy(&kept);
    discovery_destroy(&discovery);
    http_client_destroy(&http);
    arena_destroy(&arena);
    return 0;
}
