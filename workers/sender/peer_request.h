/* One request to another server, from its name to its answer: resolve, sign, connect to each address in turn. */
#ifndef MYELIN_SENDER_PEER_REQUEST_H
#define MYELIN_SENDER_PEER_REQUEST_H

#include "lib/kit/call.h"
#include "lib/kit/http_client.h"

struct peer_request {
    struct slice destination, method, uri;
    struct slice content; /* raw JSON, or absent */
    bool sign;            /* X-Matrix */
    int64_t timeout_ms;   /* within the call's deadline */
    int64_t size_max;     /* bytes of the answer */
};

void peer_request_start(struct worker *worker);
void peer_request_stop(void);
/* OK for any HTTP status. PEER: it cannot be found, reached or trusted; DEADLINE; TOO_LARGE; UNAVAILABLE: no signer or discovery.
 * call->why says more. */
enum fault peer_request_send(struct call *call, const struct peer_request *request, struct http_answer *answer);

#endif
