/* Structured logs: one JSON object per line on stderr, {"ts":…,"level":…,"kind":…,"trace":…,"msg":…, …fields}.
 * The function that knows writes the detail once; the kit writes one line per call (STYLE §5). Any thread. */
#ifndef MYELIN_BASE_LOG_H
#define MYELIN_BASE_LOG_H

#include "lib/base/slice.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_init(const char *kind, enum log_level level); /* once, before threads; kind must outlive the process */
void log_set_level(enum log_level level);
bool log_level_from_name(struct slice name, enum log_level *out);
bool log_enabled(enum log_level level);
/* The trace id of the call this thread works on; shown with each line until changed. NULL ends it. */
void log_set_trace(const char *trace_hex);

/* Message, then pairs of key and value: log_event(LOG_INFO, "listening", LOG_STR("address", a), LOG_I64("port", 8448)). */
struct log_field {
    const char *key;
    struct slice text; /* when at != NULL */
    int64_t number;
};
static inline struct slice log_cstr(const char *text)
{
    return text ? slice_from_cstr(text) : SLICE("");
}
#define LOG_STR(k, s) ((struct log_field){.key = (k), .text = (s).at ? (s) : SLICE("")})
#define LOG_CSTR(k, c) ((struct log_field){.key = (k), .text = log_cstr(c)})
#define LOG_I64(k, n) ((struct log_field){.key = (k), .number = (n)})
void log_write(enum log_level level, const char *message, const struct log_field *fields, size_t count);
#define log_event(level, message, ...) \
    do { \
        if (log_enabled(level)) { \
            const struct log_field fields_[] = {{.key = NULL}, ##__VA_ARGS__}; \
            log_write((level), (message), fields_ + 1, sizeof fields_ / sizeof fields_[0] - 1); \
        } \
    } while (0)

#endif
