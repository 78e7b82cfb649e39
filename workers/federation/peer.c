/* Requests to other servers; see peer.h. */
#include "workers/federation/peer.h"

#include "proto/stubs.h"

enum { ANSWER_BYTES_MAX = 256 * 1024 * 1024 }; /* send_join of a very large room */

enum fault peer_ask(struct call *call, struct slice server, const char *method, struct slice uri, struct slice content,
                    struct peer_answer *answer)
{
    *answer = (struct peer_answer){0};
    struct fetch_request request = {.destination = server,
                                    .method = slice_from_cstr(method),
                                    .uri = uri,
                                    .sign = true,
                                    .size_max = ANSWER_BYTES_MAX,
                                    .content = content,
                                    .ignore_backoff = true};
    struct fetch_reply reply;
    enum fault fault = call_fetch(call, server, &request, &reply);
    if (fault)
        return fault;
    *answer = (struct peer_answer){reply.status, reply.body, json_parse(call->arena, reply.body, JSON_LAX, NULL)};
    if (reply.status != 200)
        return FAULT_PEER_REFUSED;
    return answer->json ? FAULT_OK : FAULT_PEER;
}
