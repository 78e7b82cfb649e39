/* Requests to other servers; see peer.h. */
#include "workers/federation/peer.h"

#include "proto/stubs.h"

enum { ANSWER_BYTES_MAX = 256 * 1024 * 1024 }; /* send_join of a very large room */

enum fault peer_ask_large(struct call *call, struct slice server, const char *method, struct slice uri, struct slice content,
                          int64_t timeout_ms, struct peer_answer *answer)
{
    *answer = (struct peer_answer){0};
    struct fetch_request request = {.destination = server,
                                    .method = slice_from_cstr(method),
                                    .uri = uri,
                                    .sign = true,
                                    .timeout_ms = timeout_ms,
                                    .size_max = ANSWER_BYTES_MAX,
                                    .content = content,
                                    .ignore_backoff = true};
    struct fetch_reply reply;
    enum fault fault = call_fetch(call, server, &request, &reply);
    if (fault)
        return fault;
    *answer = (struct peer_answer){reply.status, reply.body, NULL};
    return reply.status == 200 ? FAULT_OK : FAULT_PEER_REFUSED;
}

enum fault peer_ask(struct call *call, struct slice server, const char *method, struct slice uri, struct slice content,
                    struct peer_answer *answer)
{
    enum fault fault = peer_ask_large(call, server, method, uri, content, 0, answer);
    answer->json = answer->status ? json_parse(call->arena, answer->body, JSON_LAX, NULL) : NULL;
    return fault || answer->json ? fault : FAULT_PEER;
}
