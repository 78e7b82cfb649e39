/* A worker that a test scripts by what it asks: ROUTER on the endpoint of argv[1], answers every http request with a JSON account
 * of what it was sent. The query steers it: delay=MS     answer later            status=N      answer with that status size=N that
 * many bytes of padding in the JSON fault=N      answer with a bus fault  die=1         exit without an answer mute=1       never
 * answer             type=T        content type (the body is then "x") One line on stdout per message: "hello", "request <trace>
 * <correlation> <target>", "cancel <correlation>". argv[2] = "quiet" leaves that out, for benchmarks. argv[3] (optional) is the
 * cluster secret for tcp:// endpoints. argv[4] (optional) makes it one that must not be called: "foreign" speaks another major
 * version, "stranger" says hello as another process; or one that knows no request: "old". */
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/json.h"
#include "lib/kit/wire.h"
#include "proto/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

/* An answer that is due later: made at once, sent when its time comes. */
struct later {
    struct later *next;
    int64_t at_ms;
    struct arena *arena;
    struct wire_message message;
};
static struct later *laters;
static bool quiet;
static const char *mode = "";

static struct slice query_value(struct slice query, struct slice name)
{
    struct slice pair, key, value;
    while (query.len) {
        if (!slice_cut(query, '&', &pair, &query)) {
            pair = query;
            query = SLICE("");
        }
        if (slice_cut(pair, '=', &key, &value) && slice_eq(key, name))
            return value;
    }
    return SLICE_ABSENT;
}

static int64_t query_number(struct slice query, const char *name, int64_t otherwise)
{
    slice_to_i64(query_value(query, slice_from_cstr(name)), &otherwise);
    return otherwise;
}

static void put_text(struct json_writer *w, const char *key, struct slice text)
{
    if (!slice_is_absent(text))
        json_put_string(w, key, utf8_is_valid(text) ? text : SLICE("(not UTF-8)"));
}

static struct slice account_of(struct arena *arena, const struct wire_header *header, const struct http_request *request)
{
    struct json_writer w = json_writer_in(arena);
    const struct route *route = route_find_key((uint64_t)request->route_key);
    char hex[33];
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", header->trace[i]);
    json_begin_object(&w);
    json_put_cstr(&w, "handler", route ? route->handler : "?");
    json_put_i64(&w, "pid", getpid());
    json_put_cstr(&w, "trace", hex);
    json_put_i64(&w, "timeout_ms", header->timeout_ms);
    json_put_bool(&w, "has_lane", header->lane != 0);
    put_text(&w, "lane", arena_printf(arena, "%016llx", (unsigned long long)header->lane));
    json_put_i64(&w, "caller_rank", header->caller_rank);
    put_text(&w, "target", request->target);
    put_text(&w, "query", request->query);
    put_text(&w, "authorization", request->authorization);
    put_text(&w, "content_type", request->content_type);
    put_text(&w, "remote_address", request->remote_address);
    put_text(&w, "user_agent", request->user_agent);
    json_put_i64(&w, "body_bytes", (int64_t)request->body.len);
    json_put_array(&w, "params");
    for (size_t i = 0; i < request->params.len; i++)
        json_add_string(&w, request->params.at[i]);
    json_end_array(&w);
    int64_t size = query_number(request->query, "size", 0);
    if (size > 0) {
        char *padding = arena_alloc_raw(arena, (size_t)size);
        memset(padding, 'x', (size_t)size);
        json_put_string(&w, "padding", slice_of(padding, (size_t)size));
    }
    json_end_object(&w);
    return json_done(&w);
}

/* Plain requests are the benchmark's: a fixed answer costs what an answer costs. */
static void make_reply(struct arena *arena, const struct wire_message *message, const struct http_request *request,
                       struct wire_message *out)
{
    static const struct slice headers[] = {{"X-Fake", 6}, {"yes", 3}, {"connection", 10}, {"close", 5}};
    struct slice type = query_value(request->query, SLICE("type"));
    struct http_reply reply = {.status = query_number(request->query, "status", 200), .content_type = type};
    *out = (struct wire_message){.identity = message->identity, .header = message->header};
    out->header.type = WIRE_REPLY;
    out->header.fault = (uint16_t)query_number(request->query, "fault", 0);
    if (strcmp(mode, "old") == 0)
        out->header.fault = FAULT_VERSION_MISMATCH;
    if (out->header.fault) {
        out->body.head = SLICE("because the test said so");
        return;
    }
    if (quiet)
        reply.body = SLICE("{\"versions\":[\"v1.1\",\"v1.2\"]}");
    else
        reply.body = slice_is_absent(type) ? account_of(arena, &message->header, request) : SLICE("x");
    if (!quiet)
        reply.headers = (struct slices){headers, 4};
    message_find(MESSAGE_http)->pack_reply(arena, &reply, &out->body);
}

static void answer(void *socket, struct arena *arena, const struct wire_message *message, const struct http_request *request)
{
    int64_t delay_ms = query_number(request->query, "delay", 0);
    if (delay_ms == 0) {
        struct wire_message reply;
        make_reply(arena, message, request, &reply);
        wire_send(socket, &reply);
        return;
    }
    struct later *later = calloc(1, sizeof *later);
    ensure(later);
    later->at_ms = clock_monotonic_ms() + delay_ms;
    later->arena = arena_create(SIZE_MAX / 4);
    make_reply(later->arena, message, request, &later->message);
    later->message.identity = arena_copy(later->arena, message->identity);
    later->next = laters;
    laters = later;
}

static void say(const char *what, const struct wire_message *message, struct slice target)
{
    if (!quiet)
        printf("%s %llu %.*s\n", what, (unsigned long long)message->header.correlation, PRI(target));
}

static void take(void *socket, struct arena *arena, const struct wire_message *message)
{
    struct http_request request;
    if (message->header.type == WIRE_HELLO) {
        struct wire_message hello = {.identity = message->identity,
                                     .header = {.major = WIRE_MAJOR, .minor = WIRE_MINOR, .type = WIRE_HELLO}};
        hello.body.head = SLICE("\x90");
        hello.header.major += strcmp(mode, "foreign") == 0;
        if (strcmp(mode, "stranger") == 0)
            hello.body.head = wire_hello_head(arena, SERVICE_accounts, 1);
        say("hello", message, SLICE(""));
        wire_send(socket, &hello);
    } else if (message->header.type == WIRE_CANCEL) {
        say("cancel", message, SLICE(""));
    } else if (message->header.type == WIRE_REQUEST &&
               message_find(MESSAGE_http)->unpack_request(arena, &message->body, &request)) {
        say("request", message, request.target);
        if (query_number(request.query, "die", 0))
            _exit(9);
        if (!query_number(request.query, "mute", 0))
            answer(socket, arena, message, &request);
    } else {
        say("malformed", message, SLICE(""));
    }
}

static long send_due(void *socket)
{
    int64_t now_ms = clock_monotonic_ms(), next_ms = now_ms + 1000;
    for (struct later **at = &laters; *at;) {
        struct later *later = *at;
        if (later->at_ms <= now_ms) {
            wire_send(socket, &later->message);
            *at = later->next;
            arena_destroy(&later->arena);
            free(later);
            continue;
        }
        next_ms = later->at_ms < next_ms ? later->at_ms : next_ms;
        at = &later->next;
    }
    return (long)(next_ms - now_ms);
}

int main(int argc, char **argv)
{
    ensure(argc >= 2);
    quiet = argc > 2 && strcmp(argv[2], "quiet") == 0;
    mode = argc > 4 ? argv[4] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct settings settings = {.cluster_secret = argc > 3 ? argv[3] : ""};
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_ROUTER);
    ensure(wire_secure_socket(context, socket, &settings, argv[1], true));
    ensure(zmq_bind(socket, argv[1]) == 0);
    struct arena *arena = arena_create(SIZE_MAX / 4);
    puts("ready");
    for (;;) {
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, send_due(socket)) < 0 && errno != EINTR)
            return 1;
        for (;;) {
            struct wire_message message;
            arena_reset(arena);
            if (wire_receive(socket, arena, true, &message))
                take(socket, arena, &message);
            else if (errno == EAGAIN)
                break;
        }
    }
}
