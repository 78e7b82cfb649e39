/* What an answer to GET /.well-known/matrix/server says, and for how long (Server-Server API "Resolving server names", step 3).
 * Pure: it is fuzzed. */
#ifndef MYELIN_DISCOVERY_WELL_KNOWN_ANSWER_H
#define MYELIN_DISCOVERY_WELL_KNOWN_ANSWER_H

#include "lib/base/arena.h"

enum { WELL_KNOWN_MAX_BYTES = 50 * 1024 };

/* m.server, in the arena. Absent: *why says what is wrong (static). */
struct slice well_known_server(struct arena *arena, struct slice body, const char **why);
/* How long the answer may be kept, by its headers (absent ones: 24 hours): at least a minute, at most 48 hours. */
int64_t well_known_lifetime_ms(struct arena *arena, struct slice cache_control, struct slice expires, int64_t wall_ms);
/* How long a failure is kept: up to an hour, less at first. failures: in a row, at least 1. */
int64_t well_known_retry_ms(int failures);

#endif
