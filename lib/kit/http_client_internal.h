/* What the files of the HTTP client share (private to lib/kit): http_client.c is the blocking API, http_client_transfer.c one
 * request as libcurl wants it, http_client_engine.c the thread that runs them, http_client_trust.c whom we believe. */
#ifndef MYELIN_KIT_HTTP_CLIENT_INTERNAL_H
#define MYELIN_KIT_HTTP_CLIENT_INTERNAL_H

#include "lib/kit/http_client.h"
#include "lib/kit/metrics.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <pthread.h>

enum fetch_outcome { FETCH_OK, FETCH_PEER, FETCH_DEADLINE, FETCH_TOO_LARGE, FETCH_BLOCKED, FETCH_OUTCOMES };

/* One request under way. Made and ended by the thread that waits for it; in between the engine's. Lives in the caller's arena, what
 * curl and the body need is on the heap: arenas belong to one thread. */
struct transfer {
    struct transfer *next; /* of those handed to the engine */
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers, *resolve, *connect_to;
    char *body;
    size_t body_len, body_capacity, size_max, header_bytes;
    bool is_blocked, is_too_large;
    CURLcode result;
    char error[CURL_ERROR_SIZE];
    pthread_mutex_t lock; /* is_done */
    pthread_cond_t done;
    bool is_done;
};

struct engine;
struct http_client {
    const char *ca_file;
    bool verify, allow_private;
    struct engine *engine;
    struct metric *fetches[FETCH_OUTCOMES], *latency;
};

/* ---- http_client_transfer.c. NULL: *error says what cannot be asked like that. Freed with the arena. */
struct transfer *transfer_create(struct http_client *client, struct arena *arena, const struct http_fetch *request,
                                 const char **error);
/* After the engine is done: the answer's fields; borrows from the transfer. */
enum fault transfer_answer(struct transfer *transfer, struct arena *arena, int64_t deadline_ms, struct http_answer *answer);

/* ---- http_client_engine.c */
struct engine *engine_create(struct http_client *client);
void engine_destroy(struct engine **engine);
void engine_run(struct engine *engine, struct transfer *transfer); /* blocks until it is done */
X509_STORE *engine_trust(struct engine *engine);                   /* engine thread only; the engine's reference */

/* ---- http_client_trust.c. The system's authorities and those of ca_file (may be ""). Never NULL. */
X509_STORE *trust_load(const char *ca_file);

#endif
