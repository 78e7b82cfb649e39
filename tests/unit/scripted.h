/* Real worker processes with a scripted supervisor and a scripted caller: the test program starts itself again as a worker of a
 * made-up kind (scripted_main), plays the supervisor on its control channel, and calls it over the bus as a frontend would. */
#ifndef MYELIN_TESTS_SCRIPTED_H
#define MYELIN_TESTS_SCRIPTED_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zmq.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/kit/control.h"
#include "lib/kit/wire.h"
#include "lib/kit/worker.h"

struct actor {
    pid_t pid;
    int control;
    char instance[17], endpoint[128], publisher[128];
    const char *kind;
};

struct stage {
    struct arena *arena;
    char folder[64];
    const char *lines; /* settings besides server_name */
    void *zmq;
    uint64_t correlation;
    int generation;
};

static inline void stage_open(struct stage *stage, const char *lines)
{
    *stage = (struct stage){.arena = arena_create(256 * 1024 * 1024), .lines = lines, .zmq = zmq_ctx_new()};
    strcpy(stage->folder, "/tmp/myelin-kit-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
}

static inline void stage_close(struct stage *stage)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", stage->folder);
    assert_int_equal(system(command), 0);
    zmq_ctx_term(stage->zmq);
    arena_destroy(&stage->arena);
}

static inline void tell(struct actor *actor, struct slice packet)
{
    assert_true(control_send(actor->control, packet));
}

/* The next packet of that type; heartbeats and others are skipped. NULL: the channel is closed. */
static inline const struct json *hear(struct stage *stage, struct actor *actor, const char *type)
{
    struct slice packet;
    while (control_receive(actor->control, stage->arena, &packet)) {
        const struct json *json = json_parse(stage->arena, packet, JSON_LAX, NULL);
        if (slice_eq(json_get_string(json, "type"), slice_from_cstr(type)))
            return json;
    }
    return NULL;
}

static inline void copy_out(char *out, size_t size, struct slice text)
{
    snprintf(out, size, "%.*s", PRI(text));
}

/* First in main: in a child it becomes the worker. */
static inline void scripted_main(int argc, char **argv, const struct worker_kind *const *kinds, size_t count)
{
    for (size_t i = 0; argc == 3 && strcmp(argv[1], "--actor") == 0 && i < count; i++) {
        if (strcmp(argv[2], service_facts(kinds[i]->service)->name) == 0)
            exit(worker_main(kinds[i], 0, NULL));
    }
}

/* Starts a worker and gives it no peers yet. */
static inline struct actor actor_start(struct stage *stage, const struct worker_kind *kind)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct actor actor = {.kind = service_facts(kind->service)->name, .control = pair[0]};
    fflush(NULL);
    actor.pid = fork();
    assert_true(actor.pid >= 0);
    if (actor.pid == 0) {
        close(pair[0]);
        if (pair[1] == CONTROL_DESCRIPTOR)
            fcntl(pair[1], F_SETFD, 0);
        else
            dup2(pair[1], CONTROL_DESCRIPTOR);
        execl("/proc/self/exe", "worker", "--actor", actor.kind, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    struct json_writer w = json_writer_in(stage->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "settings");
    json_put_string(&w, "lines",
                    arena_printf(stage->arena, "server_name=test\nlog_level=%s\n%s",
                                 getenv("KIT_LOG") ? getenv("KIT_LOG") : "error", stage->lines));
    json_put_cstr(&w, "data", stage->folder);
    json_end_object(&w);
    tell(&actor, json_done(&w));
    tell(&actor, SLICE("{\"type\":\"peers\",\"generation\":0,\"peers\":[]}"));
    const struct json *ready = hear(stage, &actor, "ready");
    assert_non_null(ready);
    copy_out(actor.instance, sizeof actor.instance, json_get_string(ready, "instance"));
    copy_out(actor.endpoint, sizeof actor.endpoint, json_get_string(ready, "endpoint"));
    copy_out(actor.publisher, sizeof actor.publisher, json_get_string(ready, "publisher"));
    return actor;
}

/* Tells everybody who is there. */
static inline void introduce(struct stage *stage, struct actor *const *actors, size_t count)
{
    struct json_writer w = json_writer_in(stage->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "peers");
    json_put_i64(&w, "generation", ++stage->generation);
    json_put_array(&w, "peers");
    for (size_t i = 0; i < count; i++) {
        if (actors[i]->pid == 0)
            continue;
        json_begin_object(&w);
        json_put_cstr(&w, "instance", actors[i]->instance);
        json_put_cstr(&w, "kind", actors[i]->kind);
        json_put_cstr(&w, "endpoint", actors[i]->endpoint);
        json_put_cstr(&w, "publisher", actors[i]->publisher);
        json_put_cstr(&w, "version", "test");
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    struct slice packet = json_done(&w);
    for (size_t i = 0; i < count; i++) {
        if (actors[i]->pid)
            tell(actors[i], packet);
    }
}

static inline void actor_kill(struct actor *actor)
{
    int status;
    kill(actor->pid, SIGKILL);
    assert_int_equal(waitpid(actor->pid, &status, 0), actor->pid);
    close(actor->control);
    actor->pid = 0;
}

/* Drains them and asserts that they end by themselves, cleanly: sanitizers and assertions of the children show here. All are told
 * first: a drain takes a while, and theirs are one while. */
static inline void actors_drain(struct stage *stage, struct actor *const *actors, size_t count)
{
    int status;
    for (size_t i = 0; i < count; i++) {
        if (actors[i]->pid == 0)
            continue;
        tell(actors[i], SLICE("{\"type\":\"peers\",\"generation\":99999,\"peers\":[]}")); /* nobody sends it anything any more */
        tell(actors[i], SLICE("{\"type\":\"drain\"}"));
    }
    for (size_t i = 0; i < count; i++) {
        if (actors[i]->pid == 0)
            continue;
        assert_non_null(hear(stage, actors[i], "drained"));
        assert_int_equal(waitpid(actors[i]->pid, &status, 0), actors[i]->pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        close(actors[i]->control);
        actors[i]->pid = 0;
    }
}

static inline void actor_drain(struct stage *stage, struct actor *actor)
{
    actors_drain(stage, &actor, 1);
}

/* What it works on. Packets are taken in their order: what it was told before has been taken when this answers. */
static inline const struct json *actor_calls(struct stage *stage, struct actor *actor)
{
    tell(actor, SLICE("{\"type\":\"calls\",\"id\":9}"));
    return json_get_array(hear(stage, actor, "calls"), "calls");
}

/* ---- calling as the frontend does */

static inline void *dial(struct stage *stage, const struct actor *actor)
{
    static const struct settings no_settings;
    void *socket = zmq_socket(stage->zmq, ZMQ_DEALER);
    int wait_ms = 10000, off = 0;
    assert_true(wire_secure_socket(stage->zmq, socket, &no_settings, "ipc://", false));
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &off, sizeof off);
    assert_int_equal(zmq_connect(socket, actor->endpoint), 0);
    return socket;
}

static inline uint64_t send_request(struct stage *stage, void *socket, unsigned message, struct slice lane, uint32_t timeout_ms,
                                    const void *request)
{
    struct wire_message out = {.identity = SLICE_ABSENT,
                               .header = {.major = WIRE_MAJOR,
                                          .minor = WIRE_MINOR,
                                          .type = WIRE_REQUEST,
                                          .message = (uint16_t)message,
                                          .correlation = ++stage->correlation,
                                          .timeout_ms = timeout_ms,
                                          .lane = slice_is_absent(lane) ? 0 : slice_hash(lane)}};
    message_find(message)->pack_request(stage->arena, request, &out.body);
    assert_true(wire_send(socket, &out));
    return stage->correlation;
}

static inline bool receive_within(struct stage *stage, void *socket, long ms, struct wire_message *in)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, ms) <= 0)
        return false;
    assert_true(wire_receive(socket, stage->arena, false, in));
    return true;
}

/* Waits for the answer and unpacks it. With a fault *why is its text, and the reply what was sent besides. */
static inline enum fault receive_reply(struct stage *stage, void *socket, unsigned message, uint64_t correlation, void *reply,
                                       struct slice *why)
{
    struct wire_message in;
    assert_true(receive_within(stage, socket, 20000, &in));
    assert_int_equal(in.header.type, WIRE_REPLY);
    assert_int_equal(in.header.correlation, correlation);
    struct packed body = in.body;
    if (why)
        *why = SLICE_ABSENT;
    if (in.header.fault) {
        if (why)
            *why = in.body.head;
        body.head = in.body.frames.len ? in.body.frames.at[0] : SLICE_ABSENT;
        body.frames =
            in.body.frames.len ? (struct slices){in.body.frames.at + 1, in.body.frames.len - 1} : (struct slices){NULL, 0};
    }
    if (!slice_is_absent(body.head))
        assert_true(message_find(message)->unpack_reply(stage->arena, &body, reply));
    return (enum fault)in.header.fault;
}

#endif
