/* Counters, gauges and histograms in one list of families, each with its series. Creating takes a lock; changing is one relaxed
 * atomic add. A series that was never touched is not written: with one per route and status there would be thousands of zeros. */
#include "lib/kit/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/ensure.h"

/* Upper bounds in microseconds, as Prometheus wants them: cumulative when written, separate in memory. */
static const int64_t bounds_us[] = {100,    250,    500,    1000,    2500,    5000,    10000,    25000,   50000,
                                    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};
enum { BOUND_COUNT = sizeof bounds_us / sizeof bounds_us[0] };

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
static const char *const type_names[] = {"counter", "gauge", "histogram"};

struct metric {
    struct metric *next;
    char *labels; /* "" without any */
    atomic_bool touched;
    atomic_llong value; /* histogram: the sum, in microseconds */
    int64_t (*read)(void *context);
    void *context;
    atomic_llong *buckets; /* histogram: BOUND_COUNT + 1, the last one is +Inf */
};

struct family {
    struct family *next;
    char *name, *help;
    enum metric_type type;
    struct metric *series, **last;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct family *families, **last_family = &families;

static char *copy_text(const char *text)
{
    char *copy = strdup(text ? text : "");
    ensure(copy);
    return copy;
}

static struct family *family_for(const char *name, const char *help, enum metric_type type)
{
    for (struct family *family = families; family; family = family->next) {
        if (strcmp(family->name, name) == 0) {
            ensure(family->type == type);
            return family;
        }
    }
    struct family *family = calloc(1, sizeof *family);
    ensure(family);
    family->name = copy_text(name);
    family->help = copy_text(help);
    family->type = type;
    family->last = &family->series;
    *last_family = family;
    last_family = &family->next;
    return family;
}

/* The same name and labels give the same series. */
static struct metric *metric_create(const char *name, const char *help, const char *labels, enum metric_type type)
{
    pthread_mutex_lock(&lock);
    struct family *family = family_for(name, help, type);
    struct metric *metric = family->series;
    while (metric && strcmp(metric->labels, labels ? labels : "") != 0)
        metric = metric->next;
    if (!metric) {
        metric = calloc(1, sizeof *metric);
        ensure(metric);
        metric->labels = copy_text(labels);
        if (type == METRIC_HISTOGRAM) {
            metric->buckets = calloc(BOUND_COUNT + 1, sizeof *metric->buckets);
            ensure(metric->buckets);
        }
        *family->last = metric;
        family->last = &metric->next;
    }
    pthread_mutex_unlock(&lock);
    return metric;
}

struct metric *metric_counter(const char *name, const char *help, const char *labels)
{
    return metric_create(name, help, labels, METRIC_COUNTER);
}

struct metric *metric_gauge(const char *name, const char *help, const char *labels)
{
    return metric_create(name, help, labels, METRIC_GAUGE);
}

struct metric *metric_histogram_ms(const char *name, const char *help, const char *labels)
{
    return metric_create(name, help, labels, METRIC_HISTOGRAM);
}

void metric_read_by(struct metric *metric, int64_t (*read)(void *context), void *context)
{
    pthread_mutex_lock(&lock);
    metric->read = read;
    metric->context = context;
    pthread_mutex_unlock(&lock);
    atomic_store_explicit(&metric->touched, true, memory_order_relaxed);
}

static void touch(struct metric *metric)
{
    if (!atomic_load_explicit(&metric->touched, memory_order_relaxed))
        atomic_store_explicit(&metric->touched, true, memory_order_relaxed);
}

void metric_add(struct metric *metric, int64_t amount)
{
    atomic_fetch_add_explicit(&metric->value, amount, memory_order_relaxed);
    touch(metric);
}

void metric_set(struct metric *metric, int64_t value)
{
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
    touch(metric);
}

void metric_observe_us(struct metric *metric, int64_t microseconds)
{
    int bucket = 0;
    while (bucket < BOUND_COUNT && microseconds > bounds_us[bucket])
        bucket++;
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    metric_add(metric, microseconds);
}

/* ---- the text exposition format */

/* name_suffix{labels,more} without a value */
static void write_series(struct strbuf *out, const char *name, const char *suffix, const char *labels, const char *more)
{
    strbuf_add_cstr(out, name);
    strbuf_add_cstr(out, suffix);
    if (!*labels && !*more)
        return;
    strbuf_printf(out, "{%s%s%s}", labels, *labels && *more ? "," : "", more);
}

static void write_histogram(struct strbuf *out, const struct family *family, struct metric *metric)
{
    long long count = 0;
    for (int i = 0; i <= BOUND_COUNT; i++) {
        char bound[40] = "le=\"+Inf\"";
        if (i < BOUND_COUNT)
            snprintf(bound, sizeof bound, "le=\"%g\"", (double)bounds_us[i] / 1000.0);
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        write_series(out, family->name, "_bucket", metric->labels, bound);
        strbuf_printf(out, " %lld\n", count);
    }
    write_series(out, family->name, "_sum", metric->labels, "");
    strbuf_printf(out, " %.3f\n", (double)atomic_load_explicit(&metric->value, memory_order_relaxed) / 1000.0);
    write_series(out, family->name, "_count", metric->labels, "");
    strbuf_printf(out, " %lld\n", count);
}

static void write_metric(struct strbuf *out, const struct family *family, struct metric *metric)
{
    if (family->type == METRIC_HISTOGRAM) {
        write_histogram(out, family, metric);
        return;
    }
    long long value = atomic_load_explicit(&metric->value, memory_order_relaxed);
    if (metric->read)
        value = metric->read(metric->context);
    write_series(out, family->name, "", metric->labels, "");
    strbuf_printf(out, " %lld\n", value);
}

/* The lock is held only to step through the lists, never while the arena behind `out` allocates: series are only ever added. */
static struct metric *next_touched(struct family *family, struct metric *after)
{
    pthread_mutex_lock(&lock);
    struct metric *metric = after ? after->next : family->series;
    while (metric && !atomic_load_explicit(&metric->touched, memory_order_relaxed))
        metric = metric->next;
    pthread_mutex_unlock(&lock);
    return metric;
}

static void write_family(struct strbuf *out, struct family *family)
{
    struct metric *metric = next_touched(family, NULL);
    if (!metric)
        return;
    strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name, type_names[family->type]);
    for (; metric; metric = next_touched(family, metric))
        write_metric(out, family, metric);
}

void metrics_write(struct strbuf *out)
{
    pthread_mutex_lock(&lock);
    struct family *family = families;
    while (family) {
        pthread_mutex_unlock(&lock);
        write_family(out, family);
        pthread_mutex_lock(&lock);
        family = family->next;
    }
    pthread_mutex_unlock(&lock);
}
