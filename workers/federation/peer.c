/* Requests to other servers; see peer.h. */
#include "workers/federation/peer.h"

#include "proto/stubs.h"

enum { ANSWER_BYTES_MAX = 256 * 1024 * 1024 }; /* send_join of a very large room */

static struct fetch_request request_of(struct slice server, const char *method, struct slice uri, struct slice content)
{
    return (struct fetch_request){.destination = server,
                                  .method = slice_from_cstr(method),
                                  .uri = uri,
                                  .sign = true,
                                  .size_max = ANSWER_BYTES_MAX,
                                  .content = content};
}

enum fault peer_ask_large(struct call *call, struct slice server, const char *method, struct slice uri, struct slice content,
                          int64_t timeout_ms, struct peer_answer *answer)
{
    *answer = (struct peer_answer){0};
    struct fetch_request request = request_of(server, method, uri, content);
    request.timeout_ms = timeout_ms;
    request.ignore_backoff = true; /* somebody waits, or the server has just talked to us */
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

/* The lane is the question's: those of one server run at the same time. */
struct bus_ticket *peer_ask_send(struct call *call, struct slice server, const char *method, struct slice uri, struct slice content)
{
    struct fetch_request request = request_of(server, method, uri, content);
    return call_fetch_send(call, uri, &request);
}

enum fault peer_ask_wait(struct call *call, struct bus_ticket *ticket, struct peer_answer *answer)
{
    struct fetch_reply reply;
    *answer = (struct peer_answer){0};
    enum fault fault = call_bus_wait(call, ticket, &reply);
    if (fault)
        return fault;
    *answer = (struct peer_answer){reply.status, reply.body, json_parse(call->arena, reply.body, JSON_LAX, NULL)};
    if (reply.status != 200)
        return FAULT_PEER_REFUSED;
    return answer->json ? FAULT_OK : FAULT_PEER;
}
