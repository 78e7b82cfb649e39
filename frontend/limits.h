/* Rate limits: token buckets shared by all threads of the process. Keys are hashes, nothing is stored in clear. Bounded
 * memory: when the table is full the bucket closest to empty of debt is forgotten. Any thread. */
#ifndef MYELIN_FRONTEND_LIMITS_H
#define MYELIN_FRONTEND_LIMITS_H

#include "proto/route.h"

struct limits;
struct limits *limits_create(void);
void limits_destroy(struct limits **limits);

/* Takes one request of this rate class from the client's and, when it has one, the access token's bucket (0: no token).
 * 0: go ahead; otherwise how many milliseconds to wait. */
int64_t limits_take(struct limits *limits, enum route_rate rate, uint64_t address_key, uint64_t token_key, int64_t now_us);

#endif
