/* See registry.h. */
#include "supervisor/registry.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/strbuf.h"
#include "lib/kit/db.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BEAT_MS = 1000, RETRY_MS = 200, ANSWER_MS = 5000, HEALTHY_MS = 3000, GRACE_MS = 3000 };

/* When PostgreSQL was away, nobody could beat, and every row looks dead to whoever comes back first. For the first three seconds
 * nothing is removed, and the other machines that we knew stay known. */
static bool in_grace(const struct registry *registry)
{
    return clock_monotonic_ms() - registry->connected_ms < GRACE_MS;
}

/* Our statements are prepared and plan-checked with everybody's; here they are sent by hand because the pool's calls wait. */
static const char *statement(const char *name)
{
    size_t count;
    const struct db_statement *const *all = db_statements(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i]->sql;
    ensure(!"the statement is in queries.sql");
    return NULL;
}

static void away(struct registry *registry, const char *why)
{
    if (registry->state != REGISTRY_AWAY && registry->answered_ms && !registry->closing)
        log_event(LOG_WARN, "the registry lost PostgreSQL", LOG_CSTR("why", why ? why : ""));
    if (registry->watch.descriptor >= 0)
        loop_remove(&registry->watch);
    registry->watch.descriptor = -1;
    PQfinish(registry->connection);
    registry->connection = NULL;
    registry->state = REGISTRY_AWAY;
    registry->answered_ms = 0;
    registry->retry_ms = clock_monotonic_ms() + RETRY_MS;
}

static void watch_socket(struct registry *registry, uint32_t events)
{
    int descriptor = PQsocket(registry->connection);
    if (descriptor == registry->watch.descriptor) {
        loop_change(&registry->watch, events);
        return;
    }
    registry->watch.descriptor = descriptor; /* libpq closed the old one, and epoll forgot it then */
    loop_add(&registry->watch, events);
}

/* ---- the heartbeat */

static void add_text(struct strbuf *out, const char *text)
{
    strbuf_add_char(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            strbuf_add_char(out, '\\');
        strbuf_add_char(out, *text);
    }
    strbuf_add_char(out, '"');
}

enum { ARRAYS = 8 };

static void add_row(struct strbuf arrays[ARRAYS], const struct child *child)
{
    const struct peer *peer = &child->peer;
    if (arrays[0].len > 1)
        for (int i = 0; i < ARRAYS; i++)
            strbuf_add_char(&arrays[i], ',');
    strbuf_add_i64(&arrays[0], (int64_t)peer->instance);
    add_text(&arrays[1], service_facts(peer->kind)->name);
    add_text(&arrays[2], peer->endpoint);
    add_text(&arrays[3], peer->publisher);
    add_text(&arrays[4], peer->version);
    strbuf_add_i64(&arrays[5], peer->draining);
    strbuf_add_i64(&arrays[6], child->queued);
    strbuf_add_i64(&arrays[7], child->running);
}

static const char *array_end(struct strbuf *array)
{
    strbuf_add_char(array, '}');
    strbuf_add_char(array, '\0');
    return array->at;
}

static bool send_statement(struct registry *registry, enum registry_question question, int count, const char *const *values)
{
    static const char *const names[] = {"worker_beat", "worker_announce", "horizon_holders", "table_sizes"};
    if (!PQsendQueryParams(registry->connection, statement(names[question]), count, NULL, values, NULL, NULL, 0)) {
        away(registry, PQerrorMessage(registry->connection));
        return false;
    }
    registry->state = REGISTRY_BUSY;
    registry->asked = question;
    registry->sent_ms = clock_monotonic_ms();
    return true;
}

static void send_beat(struct registry *registry)
{
    struct arena *arena = arena_create(16 * 1024 * 1024);
    struct strbuf arrays[ARRAYS], gone = strbuf_in(arena);
    const char *values[ARRAYS + 3];
    for (int i = 0; i < ARRAYS; i++) {
        arrays[i] = strbuf_in(arena);
        strbuf_add_char(&arrays[i], '{');
    }
    for (const struct child *child = registry->fleet->children; child; child = child->next)
        if (fleet_is_listed(registry->fleet, child))
            add_row(arrays, child);
    strbuf_add_char(&gone, '{');
    for (size_t i = 0; i < registry->gone_count; i++) {
        if (i)
            strbuf_add_char(&gone, ',');
        strbuf_add_i64(&gone, registry->gone[i]);
    }
    for (int i = 0; i < ARRAYS; i++)
        values[i] = array_end(&arrays[i]);
    values[ARRAYS] = registry->host;
    values[ARRAYS + 1] = array_end(&gone);
    values[ARRAYS + 2] = in_grace(registry) ? "f" : "t";
    if (send_statement(registry, ASK_BEAT, ARRAYS + 3, values)) {
        registry->gone_count = 0;
        registry->announce = registry->changed;
        registry->changed = false;
        registry->watch_horizon = true;
        registry->beat_ms = registry->sent_ms + BEAT_MS;
    }
    arena_destroy(&arena);
}

static void copy_column(char *out, size_t size, const PGresult *result, int row, int column)
{
    const char *text = PQgetvalue(result, row, column);
    size_t len = strnlen(text, size - 1);
    memcpy(out, text, len);
    out[len] = '\0';
}

static bool is_ours(const struct registry *registry, uint64_t instance)
{
    for (const struct child *child = registry->fleet->children; child; child = child->next)
        if (child->peer.instance == instance)
            return true;
    return false;
}

static bool is_known(const struct remote *remote, size_t count, uint64_t instance)
{
    for (size_t i = 0; i < count; i++)
        if (remote[i].peer.instance == instance)
            return true;
    return false;
}

/* Everybody else's workers. An ipc:// endpoint is of use on its own machine only: several supervisors may share one. */
static void take_others(struct registry *registry, const PGresult *result)
{
    int rows = PQntuples(result);
    const struct fleet *fleet = registry->fleet;
    struct remote *remote = calloc((size_t)rows + fleet->remote_count + 1, sizeof *remote);
    size_t count = 0;
    ensure(remote);
    for (int row = 0; row < rows; row++) {
        struct remote *made = &remote[count];
        *made = (struct remote){.peer.instance = (uint64_t)strtoll(PQgetvalue(result, row, 0), NULL, 10)};
        copy_column(made->peer.endpoint, sizeof made->peer.endpoint, result, row, 2);
        copy_column(made->peer.publisher, sizeof made->peer.publisher, result, row, 3);
        copy_column(made->peer.version, sizeof made->peer.version, result, row, 4);
        made->peer.draining = PQgetvalue(result, row, 5)[0] == 't';
        copy_column(made->host, sizeof made->host, result, row, 6);
        bool near = strncmp(made->peer.endpoint, "ipc://", 6) != 0 || strcmp(made->host, registry->host) == 0;
        if (near && !is_ours(registry, made->peer.instance) && service_from_name(PQgetvalue(result, row, 1), &made->peer.kind))
            count++;
    }
    size_t found = count;
    for (size_t i = 0; i < fleet->remote_count && in_grace(registry); i++)
        if (!is_known(remote, found, fleet->remote[i].peer.instance))
            remote[count++] = fleet->remote[i];
    fleet_set_remote(registry->fleet, remote, count);
}

/* ---- what comes back */

static void watch_horizon(struct registry *registry)
{
    struct arena *arena = arena_create(1024 * 1024);
    const char *values[] = {arena_cstr(arena, database_facts_roles(arena)), arena_printf(arena, "%d", HORIZON_END_MS).at};
    registry->watch_horizon = false;
    send_statement(registry, ASK_HORIZON, 2, values);
    arena_destroy(&arena);
}

/* What follows a heartbeat, one after another. */
static void ask_next_or_rest(struct registry *registry)
{
    const char *host[] = {registry->host};
    int64_t now_ms = clock_monotonic_ms();
    registry->state = REGISTRY_IDLE;
    if (registry->announce) {
        registry->announce = false;
        send_statement(registry, ASK_ANNOUNCE, 1, host);
    } else if (registry->watch_horizon) {
        watch_horizon(registry);
    } else if (now_ms >= registry->facts.tables_ms) {
        registry->facts.tables_ms = now_ms + TABLES_EACH_MS;
        send_statement(registry, ASK_TABLES, 0, NULL);
    }
}

static void take_result(struct registry *registry, const PGresult *result)
{
    if (registry->state != REGISTRY_BUSY)
        return; /* the session's settings */
    if (registry->asked == ASK_BEAT)
        take_others(registry, result);
    else if (registry->asked == ASK_HORIZON)
        database_facts_take_horizon(&registry->facts, result, clock_monotonic_ms());
    else if (registry->asked == ASK_TABLES)
        database_facts_take_tables(&registry->facts, result);
}

/* A question whose answer nobody needs for working: the registry goes on without it. */
static bool is_curiosity(const struct registry *registry)
{
    return registry->state == REGISTRY_BUSY && registry->asked >= ASK_HORIZON && PQstatus(registry->connection) == CONNECTION_OK;
}

static void take_notifications(struct registry *registry)
{
    PGnotify *notice;
    while ((notice = PQnotifies(registry->connection))) {
        if (notice->be_pid != PQbackendPID(registry->connection))
            registry->beat_ms = 0; /* look now */
        PQfreemem(notice);
    }
}

static void take_results(struct registry *registry)
{
    if (!PQconsumeInput(registry->connection)) {
        away(registry, PQerrorMessage(registry->connection));
        return;
    }
    while (registry->connection && registry->state != REGISTRY_IDLE && !PQisBusy(registry->connection)) {
        PGresult *result = PQgetResult(registry->connection);
        if (!result) {
            if (registry->state == REGISTRY_BUSY)
                ask_next_or_rest(registry);
            else
                registry->state = REGISTRY_IDLE;
            continue;
        }
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && is_curiosity(registry)) {
            log_event(LOG_WARN, "PostgreSQL does not tell about itself", LOG_CSTR("why", PQresultErrorMessage(result)));
            PQclear(result);
            continue;
        }
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
            away(registry, PQresultErrorMessage(result));
            PQclear(result);
            return;
        }
        registry->answered_ms = clock_monotonic_ms();
        take_result(registry, result);
        PQclear(result);
    }
    take_notifications(registry);
    if (registry->state == REGISTRY_IDLE)
        registry_tick(registry, clock_monotonic_ms());
}

static void connecting(struct registry *registry)
{
    switch (PQconnectPoll(registry->connection)) {
    case PGRES_POLLING_READING:
        watch_socket(registry, EPOLLIN);
        return;
    case PGRES_POLLING_WRITING:
        watch_socket(registry, EPOLLOUT);
        return;
    case PGRES_POLLING_OK:
        break;
    default:
        away(registry, PQerrorMessage(registry->connection));
        return;
    }
    watch_socket(registry, EPOLLIN);
    PQsetnonblocking(registry->connection, 1);
    registry->state = REGISTRY_PREPARING;
    registry->sent_ms = registry->connected_ms = clock_monotonic_ms();
    /* A heartbeat that is lost in a crash of PostgreSQL comes again a second later: no need to wait for the disk. */
    if (!PQsendQuery(registry->connection, "SET synchronous_commit = off; SET lock_timeout = '2s'; LISTEN myelin_workers"))
        away(registry, PQerrorMessage(registry->connection));
}

static void registry_ready(struct watch *watch, uint32_t events)
{
    struct registry *registry = (struct registry *)watch;
    if (registry->state == REGISTRY_CONNECTING) {
        connecting(registry);
        return;
    }
    if (PQflush(registry->connection) < 0) {
        away(registry, PQerrorMessage(registry->connection));
        return;
    }
    take_results(registry);
}

static void connect_begin(struct registry *registry)
{
    const char *const keywords[] = {"dbname", "application_name", "connect_timeout", NULL};
    const char *const values[] = {registry->url, "myelin-supervisor", "5", NULL};
    registry->connection = PQconnectStartParams(keywords, values, 1);
    registry->state = REGISTRY_CONNECTING;
    registry->sent_ms = clock_monotonic_ms();
    if (!registry->connection || PQstatus(registry->connection) == CONNECTION_BAD)
        away(registry, "no connection");
    else
        watch_socket(registry, EPOLLOUT);
}

/* ---- from outside */

void registry_init(struct registry *registry, struct fleet *fleet, const char *url)
{
    *registry = (struct registry){.watch = {-1, registry_ready}, .fleet = fleet, .url = url};
    if (gethostname(registry->host, sizeof registry->host - 1) != 0)
        strcpy(registry->host, "localhost");
}

void registry_changed(struct registry *registry, uint64_t gone_instance)
{
    registry->changed = true;
    registry->beat_ms = 0;
    if (gone_instance && registry->gone_count < sizeof registry->gone / sizeof registry->gone[0])
        registry->gone[registry->gone_count++] = (int64_t)gone_instance;
    registry_tick(registry, clock_monotonic_ms());
}

void registry_tick(struct registry *registry, int64_t now_ms)
{
    if (registry->state == REGISTRY_AWAY) {
        if (now_ms >= registry->retry_ms && !registry->closing)
            connect_begin(registry);
    } else if (registry->state != REGISTRY_IDLE) {
        if (now_ms - registry->sent_ms > ANSWER_MS)
            away(registry, "no answer");
    } else if (now_ms >= registry->beat_ms) {
        send_beat(registry);
    }
    if (registry->state == REGISTRY_BUSY && registry->connection && PQflush(registry->connection) > 0)
        loop_change(&registry->watch, EPOLLIN | EPOLLOUT);
}

bool registry_answers(const struct registry *registry, int64_t now_ms)
{
    return registry->answered_ms && now_ms - registry->answered_ms < HEALTHY_MS;
}

void registry_finish(struct registry *registry)
{
    registry->closing = true;
    away(registry, NULL);
}
