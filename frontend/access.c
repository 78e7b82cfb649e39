/* A row's metrics are made when it is first used: most of the table's rows are rare, and a series that never moved tells nothing.
 */
#include "frontend/access.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 6, GONE = 0 }; /* 2xx is class 2; 0 is for clients that left */

struct row {
    struct metric *_Atomic by_class[CLASSES];
    struct metric *_Atomic duration;
};
static struct row *rows; /* one per route, and one for what matched none */
static struct metric *in_flight;
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

void access_start(void)
{
    rows = calloc(route_count + 1, sizeof *rows);
    ensure(rows);
    in_flight = metric_gauge("myelin_frontend_requests_in_flight", "Requests read and not yet answered", NULL);
}

static const char *const methods[METHOD_COUNT] = {"GET", "POST", "PUT", "DELETE"};

static char *labels_of(const struct route *route, int class)
{
    char *labels = NULL;
    int len;
    const char *handler = route ? route->handler : "none", *method = route ? methods[route->method] : "";
    const char *path = route ? route->path : ""; /* a handler may serve several rows */
    if (class < 0)
        len = asprintf(&labels, "route=\"%s\",method=\"%s\",path=\"%s\"", handler, method, path);
    else if (class == GONE)
        len = asprintf(&labels, "route=\"%s\",method=\"%s\",path=\"%s\",status=\"gone\"", handler, method, path);
    else
        len = asprintf(&labels, "route=\"%s\",method=\"%s\",path=\"%s\",status=\"%dxx\"", handler, method, path, class);
    ensure(len > 0);
    return labels;
}

/* class < 0: the duration. */
static struct metric *metric_of(const struct route *route, int class)
{
    struct row *row = &rows[route ? (size_t)(route - routes) : route_count];
    struct metric *_Atomic *place = class < 0 ? &row->duration : &row->by_class[class];
    struct metric *metric = atomic_load_explicit(place, memory_order_acquire);
    if (metric)
        return metric;
    pthread_mutex_lock(&making);
    metric = atomic_load(place);
    if (!metric) {
        char *labels = labels_of(route, class);
        if (class < 0)
            metric = metric_histogram_ms("myelin_frontend_request_ms", "From the whole request to the answer", labels);
        else
            metric = metric_counter("myelin_frontend_requests_total", "Requests by route and status", labels);
        free(labels);
        atomic_store_explicit(place, metric, memory_order_release);
    }
    pthread_mutex_unlock(&making);
    return metric;
}

void access_began(struct exchange *exchange)
{
    metric_add(in_flight, 1);
}

static void hex_write(char out[33], const unsigned char bytes[16])
{
    for (int i = 0; i < 16; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void log_line(const struct exchange *exchange, const char *what, size_t body_bytes)
{
    char trace[33];
    if (!log_enabled(LOG_DEBUG))
        return;
    hex_write(trace, exchange->trace);
    log_event(LOG_DEBUG, what, LOG_CSTR("trace", trace), LOG_STR("method", exchange->inquiry.method),
              LOG_STR("path", exchange->inquiry.path), LOG_CSTR("route", exchange->route ? exchange->route->handler : ""),
              LOG_I64("status", exchange->status), LOG_I64("bytes", (int64_t)body_bytes),
              LOG_I64("us", clock_monotonic_us() - exchange->started_us), LOG_CSTR("address", exchange->address.text));
}

void access_answered(struct exchange *exchange, int status, size_t body_bytes)
{
    metric_add(in_flight, -1);
    metric_add(metric_of(exchange->route, status / 100), 1);
    if (exchange->route)
        metric_observe_us(metric_of(exchange->route, -1), clock_monotonic_us() - exchange->started_us);
    log_line(exchange, "request", body_bytes);
}

void access_ended(struct exchange *exchange, bool unanswered)
{
    if (!unanswered)
        return;
    metric_add(in_flight, -1);
    metric_add(metric_of(exchange->route, GONE), 1);
    log_line(exchange, "client left", 0);
}
