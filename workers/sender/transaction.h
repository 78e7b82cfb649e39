/* A transaction's body and its answer (Server-Server API "Transactions"). Pure. */
#ifndef MYELIN_SENDER_TRANSACTION_H
#define MYELIN_SENDER_TRANSACTION_H

#include "lib/base/json.h"

enum { TRANSACTION_PDUS_MAX = 50, TRANSACTION_EDUS_MAX = 100, TRANSACTION_ID_BYTES = 64 };

/* {"edus":[…],"origin":…,"origin_server_ts":…,"pdus":[…]}: canonical when its parts are. pdus and edus are raw JSON objects. */
struct slice transaction_body(struct arena *arena, struct slice origin, int64_t now_ms, struct slices pdus, struct slices edus);
/* Unique for ever: the process's random instance, the time, and a count. */
void transaction_id(char out[TRANSACTION_ID_BYTES], uint64_t instance, int64_t now_ms, uint64_t count);
/* The PDUs that the answer calls failed: event ids and errors, at most max. 0 also for an answer that is not one. */
size_t transaction_errors(struct arena *arena, struct slice answer, struct slice *event_ids, struct slice *errors, size_t max);

#endif
