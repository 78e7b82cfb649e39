/* The keys that this process knows, bounded in bytes; behind it is the table server_key. What is known of a server is one
 * record that never changes: a newer one takes its place. Any thread. */
#ifndef MYELIN_KEYS_KEY_CACHE_H
#define MYELIN_KEYS_KEY_CACHE_H

#include "lib/kit/call.h"
#include "workers/keys/key_answer.h"

struct key_record {
    const struct verify_key *keys; /* newest answer's first, then older ones; count 0: none known */
    size_t count;
    int64_t valid_until_ts, fetched_ts; /* of the newest answer; 0: none */
    struct slice answer;                /* canonical; absent: none */
    int64_t asked_ms, retry_ms;         /* Unix ms: when the server was asked last, and when it may be again after failures */
    int failures;                       /* in a row */
};

void key_cache_start(void);
/* From memory, else from the table, else an empty record. Never fails: a database that is away only means that nothing is found in
 * it now. Valid as long as the call. */
const struct key_record *key_record_get(struct call *call, struct slice server);
/* A checked answer: into memory, and into the table if it can be had. */
void key_record_learn(struct call *call, const struct key_answer *answer);
/* The server gave none: not again before a while that doubles with each failure. */
void key_record_failed(struct call *call, struct slice server);

#endif
