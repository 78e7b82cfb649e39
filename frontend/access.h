/* What was asked and how it went: metrics by row of the route table, and one log line per request at debug. Any thread. */
#ifndef MYELIN_FRONTEND_ACCESS_H
#define MYELIN_FRONTEND_ACCESS_H

#include "frontend/exchange.h"

void access_start(void); /* once, before the loops */
void access_began(struct exchange *exchange);
void access_answered(struct exchange *exchange, int status, size_t body_bytes);
/* The request's memory ends; unanswered: the client left first. */
void access_ended(struct exchange *exchange, bool unanswered);

#endif
