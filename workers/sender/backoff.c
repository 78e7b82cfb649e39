/* Leaving failing servers alone; see backoff.h. */
#include "workers/sender/backoff.h"

void backoff_fail(struct backoff *backoff, int64_t now_ms, uint64_t random)
{
    if (backoff_is_waiting(backoff, now_ms))
        return;
    if (!backoff->failing_since_ms)
        backoff->failing_since_ms = now_ms;
    backoff->interval_ms = backoff->interval_ms ? backoff->interval_ms * 2 : BACKOFF_FIRST_MS;
    if (backoff->interval_ms > BACKOFF_MAX_MS)
        backoff->interval_ms = BACKOFF_MAX_MS;
    int64_t fifth = backoff->interval_ms / 5;
    backoff->retry_ms = now_ms + backoff->interval_ms - fifth + (int64_t)(random % (uint64_t)(2 * fifth + 1));
}

void backoff_clear(struct backoff *backoff)
{
    *backoff = (struct backoff){0};
}

void backoff_wake(struct backoff *backoff)
{
    backoff->retry_ms = 0;
}

bool backoff_is_failing(const struct backoff *backoff)
{
    return backoff->failing_since_ms != 0;
}

bool backoff_is_waiting(const struct backoff *backoff, int64_t now_ms)
{
    return backoff->retry_ms > now_ms;
}
