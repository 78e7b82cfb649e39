/* Sends messages to one worker and prints its answers: for tests of workers that are not behind HTTP.
 *   bus_call ENDPOINT CALLER_RANK [N [SECRET]]   each line of stdin: MESSAGE JSON
 * One line per answer: {"fault":"OK","reply":{…}} or {"fault":"PEER","why":"…"}. With N each message is sent N times, many at once,
 * the first answer is printed, and then {"count":N,"us":…}. */
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/json.h"
#include "lib/kit/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

enum { TIMEOUT_MS = 20000, ARENA_BYTES = 64 * 1024 * 1024, LINE_MAX_BYTES = 1 << 20, WINDOW = 200 };

static void receive(void *socket, struct arena *arena, struct wire_message *message)
{
    while (!wire_receive(socket, arena, false, message)) {
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
        if (errno != EAGAIN || zmq_poll(&item, 1, TIMEOUT_MS) <= 0) {
            printf("{\"error\":\"no answer\"}\n");
            exit(1);
        }
    }
}

static void print(struct arena *arena, const struct message_facts *facts, const struct wire_message *message)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "fault", fault_facts((enum fault)message->header.fault)->name);
    if (message->header.fault)
        json_put_string(&w, "why", message->body.head);
    else
        json_put_raw(&w, "reply", message_to_json(arena, facts, true, &message->body));
    json_end_object(&w);
    struct slice text = json_done(&w);
    printf("%.*s\n", PRI(text));
}

static void run(void *socket, int rank, int times, struct slice name, struct slice json)
{
    struct arena *arena = arena_create(ARENA_BYTES), *scratch = arena_create(ARENA_BYTES);
    const struct message_facts *facts = message_find_name(arena_cstr(arena, name));
    ensure(facts);
    struct wire_message request = {.header = {.major = WIRE_MAJOR,
                                              .type = WIRE_REQUEST,
                                              .message = (uint16_t)facts->id,
                                              .caller_rank = (uint8_t)rank,
                                              .timeout_ms = TIMEOUT_MS}};
    struct wire_message answer;
    ensure(message_from_json(arena, facts, false, json, &request.body) == FAULT_OK);
    int64_t start_us = clock_monotonic_us();
    for (int sent = 0, answered = 0; answered < times;) {
        for (; sent < times && sent - answered < WINDOW; sent++) {
            request.header.correlation = (uint64_t)sent + 1;
            zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLOUT}; /* connections that are not made yet take nothing */
            ensure(zmq_poll(&item, 1, TIMEOUT_MS) > 0 && wire_send(socket, &request));
        }
        arena_reset(scratch);
        receive(socket, scratch, &answer);
        if (answer.header.type != WIRE_REPLY)
            continue; /* a hello */
        if (answered++ == 0)
            print(scratch, facts, &answer);
    }
    if (times > 1)
        printf("{\"count\":%d,\"us\":%lld}\n", times, (long long)(clock_monotonic_us() - start_us));
    fflush(stdout);
    arena_destroy(&scratch);
    arena_destroy(&arena);
}

int main(int argc, char **argv)
{
    static char line[LINE_MAX_BYTES];
    if (argc < 3)
        return 1;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
    int linger = 0, limit = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &limit, sizeof limit);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &limit, sizeof limit);
    struct settings settings = {.cluster_secret = argc > 4 ? argv[4] : ""}; /* for tcp:// endpoints */
    ensure(argc < 5 || wire_secure_socket(context, socket, &settings, argv[1], false));
    ensure(zmq_connect(socket, argv[1]) == 0);
    while (fgets(line, sizeof line, stdin)) {
        struct slice text = slice_from_cstr(line), name, json;
        if (slice_cut(text, ' ', &name, &json))
            run(socket, atoi(argv[2]), argc > 3 ? atoi(argv[3]) : 1, name, json);
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}
