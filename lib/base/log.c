/* One line, one write(2): a line is built in a buffer of PIPE_BUF bytes on the stack, so lines of threads and processes
 * that share stderr do not mix, and logging neither allocates nor locks. The price: what does not fit is cut, and the line
 * then says "cut":true. Bytes that are not UTF-8 become U+FFFD; text from the network can not break the format. */
#include "lib/base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/utf8.h"

static const char *process_kind = "";
static atomic_int shown_level = LOG_INFO;
static _Thread_local char trace[64];
static const char *const level_names[] = {[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};
static const char ending[] = ",\"cut\":true}\n";

struct line {
    size_t len;
    bool cut;
    char text[PIPE_BUF];
};

void log_init(const char *kind, enum log_level level)
{
    process_kind = kind;
    log_set_level(level);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&shown_level, (int)level, memory_order_relaxed);
}

bool log_level_from_name(struct slice name, enum log_level *out)
{
    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++)
        if (slice_eq(name, slice_from_cstr(level_names[level]))) {
            *out = (enum log_level)level;
            return true;
        }
    return false;
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&shown_level, memory_order_relaxed);
}

void log_set_trace(const char *trace_hex)
{
    snprintf(trace, sizeof trace, "%s", trace_hex ? trace_hex : "");
}

/* Room that is left while the ending still fits. */
static size_t line_room(const struct line *line)
{
    return sizeof line->text - sizeof ending - line->len;
}

static void line_add(struct line *line, struct slice bytes)
{
    memcpy(line->text + line->len, bytes.at, bytes.len);
    line->len += bytes.len;
}

/* `at` as it may stand in a JSON string: a character, an escape or the replacement character. *step: bytes used up. */
static struct slice printable(const char *at, size_t left, char escape[8], size_t *step)
{
    unsigned char c = (unsigned char)at[0];
    *step = 1;
    if (c == '"' || c == '\\') {
        escape[0] = '\\';
        escape[1] = (char)c;
        return slice_of(escape, 2);
    }
    if (c < 0x20)
        return slice_of(escape, (size_t)snprintf(escape, 8, "\\u%04x", c));
    size_t length = utf8_sequence(at, left);
    if (!length)
        return SLICE("\xEF\xBF\xBD");
    *step = length;
    return slice_of(at, length);
}

/* A quoted string, cut short when it does not fit; the caller made sure that the two quotes do. */
static void line_add_quoted(struct line *line, struct slice text)
{
    line_add(line, SLICE("\""));
    for (size_t i = 0, step; i < text.len; i += step) {
        char escape[8];
        struct slice part = printable(text.at + i, text.len - i, escape, &step);
        if (line_room(line) < part.len + 1) {
            line->cut = true;
            break;
        }
        line_add(line, part);
    }
    line_add(line, SLICE("\""));
}

/* ,"key":  False, with nothing added, when there is no room for it and a short value. */
static bool line_add_key(struct line *line, const char *key)
{
    struct slice name = slice_from_cstr(key);
    if (line->cut || line_room(line) < name.len * 6 + 32) {
        line->cut = true;
        return false;
    }
    line_add(line, SLICE(","));
    line_add_quoted(line, name);
    line_add(line, SLICE(":"));
    return true;
}

static void line_add_text(struct line *line, const char *key, struct slice text)
{
    if (line_add_key(line, key))
        line_add_quoted(line, text);
}

static void line_add_number(struct line *line, const char *key, int64_t number)
{
    char digits[24];
    if (line_add_key(line, key))
        line_add(line, slice_of(digits, (size_t)snprintf(digits, sizeof digits, "%lld", (long long)number)));
}

static void line_add_time(struct line *line)
{
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    line->len = strftime(line->text, 64, "{\"ts\":\"%Y-%m-%dT%H:%M:%S", &utc);
    line->len += (size_t)snprintf(line->text + line->len, 16, ".%03dZ\"", (int)(now_ms % 1000));
}

static void line_write(struct line *line)
{
    line_add(line, line->cut ? slice_of(ending, sizeof ending - 1) : SLICE("}\n"));
    for (size_t done = 0; done < line->len;) {
        ssize_t written = write(STDERR_FILENO, line->text + done, line->len - done);
        if (written < 0 && errno != EINTR)
            return; /* nowhere left to complain */
        done += written > 0 ? (size_t)written : 0;
    }
}

void log_write(enum log_level level, const char *message, const struct log_field *fields, size_t count)
{
    int saved_errno = errno;
    struct line line;
    line.cut = false;
    line_add_time(&line);
    line_add_text(&line, "level", slice_from_cstr(level_names[level]));
    line_add_text(&line, "kind", slice_from_cstr(process_kind));
    if (trace[0])
        line_add_text(&line, "trace", slice_from_cstr(trace));
    line_add_text(&line, "msg", slice_from_cstr(message));
    for (size_t i = 0; i < count; i++) {
        if (fields[i].text.at)
            line_add_text(&line, fields[i].key, fields[i].text);
        else
            line_add_number(&line, fields[i].key, fields[i].number);
    }
    line_write(&line);
    errno = saved_errno;
}
