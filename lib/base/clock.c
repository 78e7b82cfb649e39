/* Both clocks of the house in one place, so that a test or a tracer has one place to look. */
#include "lib/base/clock.h"

#include <time.h>

#include "lib/base/ensure.h"

static struct timespec now(clockid_t which)
{
    struct timespec t;
    ensure(clock_gettime(which, &t) == 0);
    return t;
}

int64_t clock_wall_ms(void)
{
    struct timespec t = now(CLOCK_REALTIME);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

int64_t clock_monotonic_us(void)
{
    struct timespec t = now(CLOCK_MONOTONIC);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
