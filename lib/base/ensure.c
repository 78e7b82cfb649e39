/* The end of a process that met something impossible: one log line with the condition and the trace of the call it
 * happened in, then abort(), so that a core file shows the rest. Works before log_init() too. */
#include "lib/base/ensure.h"

#include <stdlib.h>

#include "lib/base/log.h"

void ensure_failed(const char *condition, const char *file, int line)
{
    const struct log_field fields[] = {LOG_CSTR("condition", condition), LOG_CSTR("file", file), LOG_I64("line", line)};
    log_write(LOG_ERROR, "impossible condition met, aborting", fields, sizeof fields / sizeof fields[0]);
    abort();
}
