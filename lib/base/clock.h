/* Time. Wall clock for what others see (origin_server_ts), monotonic for deadlines. Any thread. */
#ifndef MYELIN_BASE_CLOCK_H
#define MYELIN_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void);      /* Unix time in milliseconds */
int64_t clock_monotonic_ms(void); /* for deadlines on this machine only */
int64_t clock_monotonic_us(void);

#endif
