/* How long a server that does not answer is left alone: 2 s, doubled with each failure to 1 h, with jitter so that not all servers
 * are tried at once after our own network was away. Pure; times are Unix ms, because they are kept in the database. */
#ifndef MYELIN_SENDER_BACKOFF_H
#define MYELIN_SENDER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum { BACKOFF_FIRST_MS = 250, BACKOFF_MAX_MS = 3600 * 1000 };

struct backoff {
    int64_t failing_since_ms; /* 0: it is well */
    int64_t retry_ms;         /* not before */
    int64_t interval_ms;
};

/* random: any number, for the jitter of a fifth either way. A failure while it is left alone already (of a request that started
 * earlier, or would not wait) does not count again. */
void backoff_fail(struct backoff *backoff, int64_t now_ms, uint64_t random);
void backoff_clear(struct backoff *backoff);
void backoff_wake(struct backoff *backoff); /* it talked to us: the next attempt may come now; a failure goes on doubling */
bool backoff_is_failing(const struct backoff *backoff);
bool backoff_is_waiting(const struct backoff *backoff, int64_t now_ms);

#endif
