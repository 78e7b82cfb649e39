/* What the handler threads look things up in: a handler per route and message of this kind, and their metrics. Made once, at start.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/kit/worker_internal.h"

static struct call_metrics metrics_for(const char *kind, const char *what, const char *name)
{
    struct call_metrics metrics = {0};
    char labels[256];
    for (int class = 1; class < STATUS_CLASSES; class ++) {
        snprintf(labels, sizeof labels, "kind=\"%s\",%s=\"%s\",status=\"%dxx\"", kind, what, name, class);
        metrics.by_status[class] = metric_counter("myelin_calls_total", "Calls answered", labels);
    }
    metrics.by_status[0] = metrics.by_status[5];
    snprintf(labels, sizeof labels, "kind=\"%s\",%s=\"%s\"", kind, what, name);
    metrics.latency = metric_histogram_ms("myelin_call_ms", "From arrival to answer, without the time parked", labels);
    return metrics;
}

static route_handler *handler_named(const struct worker_kind *kind, const char *name)
{
    for (const struct worker_route *route = kind->routes; route && route->handler; route++) {
        if (strcmp(route->handler, name) == 0)
            return route->run;
    }
    return NULL;
}

const struct worker_message *handlers_message(const struct worker *worker, unsigned id, size_t *index)
{
    const struct worker_message *messages = worker->kind->messages;
    for (size_t i = 0; messages && messages[i].run; i++) {
        if ((unsigned)messages[i].id != id)
            continue;
        if (index)
            *index = i;
        return &messages[i];
    }
    return NULL;
}

/* ---- gauges, read when they are collected: by the control thread, which may still run while the process ends */

static pthread_mutex_t gauges_lock = PTHREAD_MUTEX_INITIALIZER;
static bool gauges_are_off;

void handlers_gauges_off(void)
{
    pthread_mutex_lock(&gauges_lock);
    gauges_are_off = true;
    pthread_mutex_unlock(&gauges_lock);
}

static int64_t read_queued(void *context)
{
    return lanes_queued(((struct worker *)context)->lanes);
}

static int64_t read_running(void *context)
{
    return lanes_running(((struct worker *)context)->lanes);
}

static int64_t read_parked(void *context)
{
    return (int64_t)park_count(((struct worker *)context)->park);
}

#define DB_STAT(field) \
    static int64_t read_db_##field(void *context) \
    { \
        struct db_pool_stats stats = {0}; \
        pthread_mutex_lock(&gauges_lock); \
        if (!gauges_are_off) \
            db_pool_stats(context, &stats); \
        pthread_mutex_unlock(&gauges_lock); \
        return stats.field; \
    }
DB_STAT(open)
DB_STAT(busy)
DB_STAT(waiting)
DB_STAT(batches)
DB_STAT(statements)
DB_STAT(failures)

static void make_gauges(struct worker *worker)
{
    char kind[64];
    snprintf(kind, sizeof kind, "kind=\"%s\"", worker->facts->name);
    metric_read_by(metric_gauge("myelin_calls_queued", "Calls that wait for a thread or their lane", kind), read_queued, worker);
    metric_read_by(metric_gauge("myelin_calls_running", "Calls in handlers", kind), read_running, worker);
    metric_read_by(metric_gauge("myelin_calls_parked", "Calls that wait for something to happen", kind), read_parked, worker);
    worker->expired = metric_counter("myelin_calls_expired_total", "Calls dropped because nobody waits for them any more", kind);
    worker->overload = metric_counter("myelin_calls_refused_total", "Calls refused because too many wait", kind);
    worker->unsent = metric_counter("myelin_replies_unsent_total", "Answers whose caller went away", kind);
    if (!worker->db)
        return;
    metric_read_by(metric_gauge("myelin_db_connections_open", "Connections to PostgreSQL", kind), read_db_open, worker->db);
    metric_read_by(metric_gauge("myelin_db_connections_busy", "Connections at work", kind), read_db_busy, worker->db);
    metric_read_by(metric_gauge("myelin_db_waiting", "Threads that wait for a connection", kind), read_db_waiting, worker->db);
    metric_read_by(metric_counter("myelin_db_batches_total", "Trips to PostgreSQL", kind), read_db_batches, worker->db);
    metric_read_by(metric_counter("myelin_db_statements_total", "Statements", kind), read_db_statements, worker->db);
    metric_read_by(metric_counter("myelin_db_failures_total", "Trips that failed", kind), read_db_failures, worker->db);
}

void handlers_prepare(struct worker *worker)
{
    const struct worker_kind *kind = worker->kind;
    worker->route_handlers = calloc(route_count + 1, sizeof *worker->route_handlers);
    worker->route_metrics = calloc(route_count + 1, sizeof *worker->route_metrics);
    ensure(worker->route_handlers && worker->route_metrics);
    for (size_t i = 0; i < route_count; i++) {
        if (routes[i].kind != kind->service)
            continue;
        worker->route_handlers[i] = handler_named(kind, routes[i].handler);
        worker->route_metrics[i] = metrics_for(worker->facts->name, "route", routes[i].handler);
    }
    size_t count = 0;
    while (kind->messages && kind->messages[count].run)
        count++;
    worker->message_metrics = calloc(count + 1, sizeof *worker->message_metrics);
    ensure(worker->message_metrics);
    for (size_t i = 0; i < count; i++)
        worker->message_metrics[i] = metrics_for(worker->facts->name, "message", message_find(kind->messages[i].id)->name);
    make_gauges(worker);
}
