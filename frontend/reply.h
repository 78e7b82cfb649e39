/* Answers, in h2o's terms. The exchange must be finished (exchange.c) before; after these calls it may be gone. */
#ifndef MYELIN_FRONTEND_REPLY_H
#define MYELIN_FRONTEND_REPLY_H

#include "frontend/exchange.h"

void reply_http(struct exchange *exchange, const struct http_reply *reply); /* a worker's; copied */
void reply_json(struct exchange *exchange, int status, struct slice json);
/* The fault's status and errcode. retry_after_ms is said for LIMIT_EXCEEDED; UNAVAILABLE says one second. */
void reply_fault(struct exchange *exchange, enum fault fault, int64_t retry_after_ms);
void reply_preflight(struct exchange *exchange);
void reply_abandoned(struct exchange *exchange); /* nobody reads it */

#endif
