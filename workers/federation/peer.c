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

static enum fault read_answer(struct call *call, const struct fetch_reply *reply, struct peer_answer *answer)
{
    *answer = (struct peer_answer){reply->status, reply->body, json_parse(call->arena, reply->body, JSON_LAX, NULL)};
    if (reply->status != 200)
        return FAULT_PEER_REFUSED;
    return answer->json ? FAULT_OK : FAULT_PEER;
}

enum fault peer_ask(struct call *call, struct slice server, const char *method, struct slice uri, struct slice content,
                    struct peer_answer *answer)
{
    *answer = (struct peer_answer){0};
    struct fetch_request request = request_of(server, method, uri, content);
    struct fetch_reply reply;
    request.ignore_backoff = true; /* somebody waits, or the server has just talked to us */
    enum fault fault = call_fetch(call, server, &request, &reply);
    return fault ? fault : read_answer(call, &reply, answer);
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
    return fault ? fault : read_answer(call, &reply, answer);
}
