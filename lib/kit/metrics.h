/* Prometheus metrics. The kit counts every call, message, statement and queue by itself; kinds add a few of their own.
 * Created at start, kept for the process's life; changing a value is one atomic add. Any thread. The control channel collects them:
 * the supervisor serves /metrics for all its children. */
#ifndef MYELIN_KIT_METRICS_H
#define MYELIN_KIT_METRICS_H

#include "lib/base/strbuf.h"

struct metric;
struct metric *metric_counter(const char *name, const char *help, const char *labels /* `kind="x",route="y"` or NULL */);
struct metric *metric_gauge(const char *name, const char *help, const char *labels);
struct metric *metric_histogram_ms(const char *name, const char *help, const char *labels); /* 0.1 ms … 30 s */
void metric_add(struct metric *metric, int64_t amount);
void metric_set(struct metric *metric, int64_t value);
void metric_observe_us(struct metric *metric, int64_t microseconds);
/* The value is asked for when it is collected (on the control thread): queue lengths, pool sizes. Counters and gauges. */
void metric_read_by(struct metric *metric, int64_t (*read)(void *context), void *context);
void metrics_write(struct strbuf *out); /* text exposition of this process */

#endif
