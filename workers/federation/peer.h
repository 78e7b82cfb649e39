/* Asking one server something: a signed request, its JSON answer. */
#ifndef MYELIN_FEDERATION_PEER_H
#define MYELIN_FEDERATION_PEER_H

#include "lib/kit/call.h"

struct peer_answer {
    int64_t status;
    struct slice body;
    const struct json *json; /* NULL when it is no JSON */
};
/* OK for a 200 with JSON. PEER: not reached. PEER_REFUSED: any other status; answer is filled. */
enum fault peer_ask(struct call *call, struct slice server, const char *method, struct slice uri, struct slice content,
                    struct peer_answer *answer);
/* For answers of many megabytes: not parsed (answer->json is NULL), and the server may take its time. */
enum fault peer_ask_large(struct call *call, struct slice server, const char *method, struct slice uri, struct slice content,
                          int64_t timeout_ms, struct peer_answer *answer);

/* Several at once: send all, then wait for each. A server that is known to fail is not asked (PEER). */
struct bus_ticket *peer_ask_send(struct call *call, struct slice server, const char *method, struct slice uri,
                                 struct slice content);
enum fault peer_ask_wait(struct call *call, struct bus_ticket *ticket, struct peer_answer *answer);

#endif
