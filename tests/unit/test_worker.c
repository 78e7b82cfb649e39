/* Two real worker processes that talk over ipc: calls, order, deadlines, a peer that dies with calls in flight, memory limits,
 * draining. The caller is a `sender`, the callee a `discovery`; neither needs a database. */
#define MYELIN_KIND sender
#include "scripted.h"

#include <stdatomic.h>
#include <sys/ptrace.h>

#include "proto/stubs.h"

/* ---- the callee: does what the server name says */

static atomic_int at_once, most_at_once;

static enum fault answer_resolve(struct call *call, const void *request_, void *reply_)
{
    const struct resolve_request *request = request_;
    struct resolve_reply *reply = reply_;
    struct slice verb = request->server_name, argument = SLICE("");
    slice_cut(request->server_name, ':', &verb, &argument);
    int64_t number = 0;
    slice_to_i64(argument, &number);
    reply->steps = arena_printf(call->arena, "%s", call->trace);
    reply->host_header = argument;
    int now = atomic_fetch_add(&at_once, 1) + 1, most = atomic_load(&most_at_once);
    while (now > most && !atomic_compare_exchange_weak(&most_at_once, &most, now))
        continue;
    if (slice_eq(verb, SLICE("sleep")))
        usleep((useconds_t)number * 1000);
    if (slice_eq(verb, SLICE("pid"))) { /* who answered, after a while */
        usleep((useconds_t)number * 1000);
        reply->host_header = arena_printf(call->arena, "%d", (int)getpid());
    }
    atomic_fetch_sub(&at_once, 1);
    reply->valid_until_ms = atomic_load(&most_at_once);
    if (slice_eq(verb, SLICE("eat"))) {
        for (int64_t i = 0; i < number; i++)
            memset(arena_alloc_raw(call->arena, 1024 * 1024), 1, 1024 * 1024);
    }
    if (slice_eq(verb, SLICE("fail"))) {
        call->why = SLICE("as asked");
        return FAULT_PEER;
    }
    if (slice_eq(verb, SLICE("die")))
        raise(SIGKILL);
    return FAULT_OK;
}
/* An older version of it: the kit says VERSION_MISMATCH. */
static const struct worker_message old_callee_messages[] = {{0, NULL}};
static const struct worker_kind old_callee = {.service = SERVICE_discovery, .messages = old_callee_messages};
static const struct worker_message callee_messages[] = {{MESSAGE_resolve, answer_resolve}, {0, NULL}};
static const struct worker_kind callee = {.service = SERVICE_discovery, .messages = callee_messages};

/* ---- the caller: passes on */

static enum fault answer_fetch(struct call *call, const void *request_, void *reply_)
{
    const struct fetch_request *request = request_;
    struct fetch_reply *reply = reply_;
    if (slice_eq(request->uri, SLICE("sign"))) { /* more frames than a message may have */
        struct sign_request many = {
            .payloads = {arena_new_array(call->arena, WIRE_FRAMES_MAX + 1, struct slice), WIRE_FRAMES_MAX + 1}};
        for (size_t i = 0; i < many.payloads.len; i++)
            ((struct slice *)(uintptr_t)many.payloads.at)[i] = SLICE("");
        struct sign_reply signed_;
        return call_sign(call, SLICE_ABSENT, &many, &signed_);
    }
    struct resolve_request ask = {.server_name = request->uri};
    struct resolve_reply answer;
    int64_t begun_ms = clock_monotonic_ms();
    if (request->timeout_ms)
        call->deadline_ms = begun_ms + request->timeout_ms;
    enum fault fault = call_resolve(call, request->destination, &ask, &answer);
    reply->status = clock_monotonic_ms() - begun_ms;
    reply->body = fault ? arena_copy(call->arena, call->why) : answer.host_header;
    reply->content_type = slice_eq(answer.steps, slice_from_cstr(call->trace)) ? SLICE("same trace") : SLICE("other trace");
    return fault;
}
/* A fan-out: a call per destination, collected before one deadline. CONFLICT: they did not run side by side. */
static enum fault answer_destination_up(struct call *call, const void *request_, void *reply_)
{
    const struct destination_up_request *request = request_;
    struct bus_ticket *tickets[64];
    assert_true(request->destinations.len <= 64);
    for (size_t i = 0; i < request->destinations.len; i++) {
        struct resolve_request ask = {.server_name = request->destinations.at[i]};
        tickets[i] = call_resolve_send(call, SLICE_ABSENT, &ask);
    }
    enum fault worst = FAULT_OK;
    int64_t most = 0;
    for (size_t i = 0; i < request->destinations.len; i++) {
        struct resolve_reply answer;
        enum fault fault = call_bus_wait(call, tickets[i], &answer);
        worst = fault ? fault : worst;
        most = answer.valid_until_ms > most ? answer.valid_until_ms : most;
    }
    return worst ? worst : most < 2 ? FAULT_CONFLICT : FAULT_OK;
}
static const struct worker_message caller_messages[] = {
    {MESSAGE_fetch, answer_fetch}, {MESSAGE_destination_up, answer_destination_up}, {0, NULL}};
static const struct worker_kind caller = {.service = SERVICE_sender, .messages = caller_messages};

/* ---- one who calls the caller: with a message that must not be repeated */

static enum fault answer_verify(struct call *call, const void *request_, void *reply_)
{
    const struct verify_request *request = request_;
    struct fetch_request ask = {.destination = SLICE("lane"), .uri = request->key_ids.at[0]};
    struct fetch_reply answer;
    return call_bus(call, message_find(MESSAGE_fetch), SLICE_ABSENT, &ask, &answer); /* ranks are checked at run time too */
}
static const struct worker_message outer_messages[] = {{MESSAGE_verify, answer_verify}, {0, NULL}};
static const struct worker_kind outer = {.service = SERVICE_keys, .messages = outer_messages};

/* ---- the play */

struct play {
    struct stage stage;
    struct actor caller, callee;
    void *socket; /* to the caller */
};

static void introduce_all(struct play *play)
{
    struct actor *actors[] = {&play->caller, &play->callee};
    introduce(&play->stage, actors, 2);
}

static int open_play(void **state)
{
    struct play *play = calloc(1, sizeof *play);
    stage_open(&play->stage, "call_memory_max=8388608\nthreads.sender=8\nthreads.discovery=8\n");
    play->callee = actor_start(&play->stage, &callee);
    play->caller = actor_start(&play->stage, &caller);
    introduce_all(play);
    play->socket = dial(&play->stage, &play->caller);
    *state = play;
    return 0;
}

static int close_play(void **state)
{
    struct play *play = *state;
    if (play->caller.pid)
        actor_drain(&play->stage, &play->caller);
    if (play->callee.pid)
        actor_drain(&play->stage, &play->callee);
    zmq_close(play->socket);
    stage_close(&play->stage);
    free(play);
    return 0;
}

static uint64_t ask(struct play *play, const char *what, int64_t timeout_ms)
{
    struct fetch_request request = {.destination = SLICE("lane"), .uri = slice_from_cstr(what), .timeout_ms = timeout_ms};
    return send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &request);
}

static enum fault get(struct play *play, uint64_t correlation, struct fetch_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    return receive_reply(&play->stage, play->socket, MESSAGE_fetch, correlation, reply, NULL);
}

static void a_call_passes_two_workers(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "echo:hello", 0), &reply), FAULT_OK);
    assert_true(slice_eq(reply.body, SLICE("hello")));
    assert_true(slice_eq(reply.content_type, SLICE("same trace")));
}

static void a_fault_carries_its_why_and_its_reply(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply = {0};
    assert_int_equal(get(play, ask(play, "fail", 0), &reply), FAULT_PEER);
    assert_true(slice_eq(reply.body, SLICE("as asked")));
    assert_true(slice_eq(reply.content_type, SLICE("same trace")));
}

static void a_slow_callee_ends_at_the_deadline(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    int64_t begun_ms = clock_monotonic_ms();
    assert_int_equal(get(play, ask(play, "sleep:9000", 200), &reply), FAULT_DEADLINE);
    assert_in_range(clock_monotonic_ms() - begun_ms, 190, 8000);
    assert_int_equal(get(play, ask(play, "echo:still there", 0), &reply), FAULT_OK); /* the late answer disturbs nobody */
}

/* With the only worker, also what may be repeated. */
static void a_death_fails_what_is_in_flight(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "echo:warm", 0), &reply), FAULT_OK);
    uint64_t waiting = ask(play, "sleep:8000", 0);
    usleep(100000);
    int64_t killed_ms = clock_monotonic_ms();
    actor_kill(&play->callee);
    assert_int_equal(get(play, waiting, &reply), FAULT_UNAVAILABLE);
    int64_t took_ms = clock_monotonic_ms() - killed_ms;
    print_message("failed %d ms after the kill: %.*s\n", (int)took_ms, PRI(reply.body));
    assert_true(took_ms < 5000); /* and not the eight seconds that it would have slept */
    assert_int_equal(get(play, ask(play, "echo:nobody", 0), &reply), FAULT_UNAVAILABLE);
    introduce_all(play);
    assert_int_equal(get(play, ask(play, "echo:nobody", 0), &reply), FAULT_UNAVAILABLE);
    play->callee = actor_start(&play->stage, &callee);
    introduce_all(play);
    int64_t deadline_ms = clock_monotonic_ms() + 5000; /* the list travels by another way than the call */
    enum fault fault;
    while ((fault = get(play, ask(play, "echo:back", 0), &reply)) == FAULT_UNAVAILABLE && clock_monotonic_ms() < deadline_ms)
        continue;
    assert_int_equal(fault, FAULT_OK);
}

/* Nobody is there for a moment: a worker is being replaced. */
static void a_call_waits_for_somebody_to_come(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    actor_kill(&play->callee);
    introduce_all(play);
    uint64_t waiting = ask(play, "echo:patience", 0);
    play->callee = actor_start(&play->stage, &callee);
    introduce_all(play);
    assert_int_equal(get(play, waiting, &reply), FAULT_OK);
    assert_true(slice_eq(reply.body, SLICE("patience")));
}

/* How many calls an actor works on. */
static size_t calls_at(struct play *play, struct actor *actor)
{
    tell(actor, SLICE("{\"type\":\"calls\",\"id\":9}"));
    return json_get_array(hear(&play->stage, actor, "calls"), "calls")->count;
}

/* What may be done twice is sent to another one when the first dies with it; once. */
static void a_repeatable_call_survives_its_worker(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    struct actor second = actor_start(&play->stage, &callee), *actors[] = {&play->caller, &play->callee, &second};
    introduce(&play->stage, actors, 3);
    enum { CALLS = 6 };
    uint64_t sent[CALLS];
    char target[32], survivor[16];
    for (int i = 0; i < CALLS; i++) { /* without a lane: spread over both */
        snprintf(target, sizeof target, "pid:%d", 2000 + i);
        struct fetch_request request = {.destination = SLICE_ABSENT, .uri = slice_from_cstr(target)};
        sent[i] = send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &request);
    }
    while (calls_at(play, &play->callee) == 0)
        usleep(10000);
    actor_kill(&play->callee);
    snprintf(survivor, sizeof survivor, "%d", (int)second.pid);
    for (int i = 0; i < CALLS; i++) {
        struct wire_message in;
        assert_true(receive_within(&play->stage, play->socket, 10000, &in));
        assert_int_equal(in.header.fault, FAULT_OK);
        assert_true(in.header.correlation >= sent[0] && in.header.correlation <= sent[CALLS - 1]);
        assert_true(message_find(MESSAGE_fetch)->unpack_reply(play->stage.arena, &in.body, &reply));
        assert_true(slice_eq(reply.body, slice_from_cstr(survivor)));
    }
    actor_drain(&play->stage, &second);
}

/* What may not is UNAVAILABLE at once. */
static void another_call_fails_at_once_with_its_worker(void **state)
{
    struct play *play = *state;
    struct actor front = actor_start(&play->stage, &outer), second = actor_start(&play->stage, &caller);
    struct actor *actors[] = {&play->caller, &play->callee, &front, &second};
    introduce(&play->stage, actors, 4);
    void *socket = dial(&play->stage, &front);
    struct slice what[] = {SLICE("sleep:8000")};
    struct verify_request request = {.key_ids = {what, 1}};
    uint64_t sent = send_request(&play->stage, socket, MESSAGE_verify, SLICE_ABSENT, 20000, &request);
    while (calls_at(play, &play->caller) + calls_at(play, &second) == 0)
        usleep(10000);
    actor_kill(&play->caller); /* one of them has it */
    actor_kill(&second);
    int64_t killed_ms = clock_monotonic_ms();
    struct verify_reply reply = {0};
    assert_int_equal(receive_reply(&play->stage, socket, MESSAGE_verify, sent, &reply, NULL), FAULT_UNAVAILABLE);
    int64_t took_ms = clock_monotonic_ms() - killed_ms;
    zmq_close(socket);
    print_message("failed %d ms after the kill\n", (int)took_ms);
    assert_true(took_ms < 3500); /* it was not held */
    actor_drain(&play->stage, &front);
}

/* A kit that does not know a message has done nothing: all others are asked. */
static void every_owner_is_asked(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    struct actor old[3];
    setenv("SCRIPTED_OLD", "1", 1);
    for (int i = 0; i < 3; i++)
        old[i] = actor_start(&play->stage, &old_callee);
    unsetenv("SCRIPTED_OLD");
    struct actor *actors[] = {&old[0], &old[1], &old[2], &play->caller, &play->callee};
    introduce(&play->stage, actors, 5);
    for (int i = 0; i < 12; i++) { /* lanes of different owners */
        char lane[32];
        snprintf(lane, sizeof lane, "lane %d", i);
        struct fetch_request request = {.destination = slice_from_cstr(lane), .uri = SLICE("echo:new")};
        uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &request);
        assert_int_equal(get(play, sent, &reply), FAULT_OK);
        assert_true(slice_eq(reply.body, SLICE("new")));
    }
    actor_kill(&play->callee);
    introduce(&play->stage, actors, 5);
    int64_t begun_ms = clock_monotonic_ms();
    enum fault fault; /* until the list is there it may be the death that is told */
    while ((fault = get(play, ask(play, "echo:x", 0), &reply)) == FAULT_OK && clock_monotonic_ms() < begun_ms + 5000)
        continue;
    assert_int_equal(fault, FAULT_INTERNAL); /* the caller's handler returned VERSION_MISMATCH, which is the kit's to say */
    for (int i = 0; i < 3; i++)
        actor_drain(&play->stage, &old[i]);
}

/* ---- workers that must not be called: a ROUTER of the test's where the registry says that a discovery is */

struct ghost {
    struct actor actor;
    void *router;
    int control_end, hellos, requests;
    uint8_t major;
    uint64_t instance; /* that it says */
};

static struct ghost ghost_open(struct play *play, uint8_t major, bool is_stale)
{
    static const struct settings no_settings;
    struct ghost ghost = {.major = major, .instance = is_stale ? 8 : 7, .router = zmq_socket(play->stage.zmq, ZMQ_ROUTER)};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ghost.actor = (struct actor){.pid = getpid(), .control = pair[0], .kind = "discovery", .instance = "0000000000000007"};
    ghost.control_end = pair[1];
    snprintf(ghost.actor.endpoint, sizeof ghost.actor.endpoint, "ipc://%s/ghost", play->stage.folder);
    assert_true(wire_secure_socket(play->stage.zmq, ghost.router, &no_settings, "ipc://", true));
    assert_int_equal(zmq_bind(ghost.router, ghost.actor.endpoint), 0);
    return ghost;
}

static void ghost_close(struct ghost *ghost)
{
    zmq_close(ghost->router);
    close(ghost->actor.control);
    close(ghost->control_end);
}

/* Answers hellos, and counts what else comes, until the play's socket has something. */
static void haunt(struct play *play, struct ghost *ghost)
{
    zmq_pollitem_t items[] = {{.socket = play->socket, .events = ZMQ_POLLIN}, {.socket = ghost->router, .events = ZMQ_POLLIN}};
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    while (zmq_poll(items, 2, 100) >= 0 && !items[0].revents) {
        struct wire_message in;
        assert_true(clock_monotonic_ms() < deadline_ms);
        if (!items[1].revents || !wire_receive(ghost->router, play->stage.arena, true, &in))
            continue;
        ghost->requests += in.header.type == WIRE_REQUEST;
        if (in.header.type != WIRE_HELLO)
            continue;
        ghost->hellos++;
        in.header.major = ghost->major;
        in.body.head = wire_hello_head(play->stage.arena, SERVICE_discovery, ghost->instance);
        assert_true(wire_send(ghost->router, &in));
    }
}

static void who_is_not_meant_gets_nothing(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    for (int is_stale = 0; is_stale < 2; is_stale++) {
        struct ghost ghost = ghost_open(play, is_stale ? WIRE_MAJOR : WIRE_MAJOR + 1, is_stale);
        struct actor *actors[] = {&ghost.actor, &play->caller, &play->callee};
        introduce(&play->stage, actors, 3);
        for (int i = 0; i < 16; i++) {
            char lane[32];
            snprintf(lane, sizeof lane, "lane %d", i);
            struct fetch_request request = {.destination = i % 2 ? slice_from_cstr(lane) : SLICE_ABSENT, .uri = SLICE("echo:fine")};
            uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &request);
            haunt(play, &ghost);
            assert_int_equal(get(play, sent, &reply), FAULT_OK);
        }
        introduce(&play->stage, actors, 2); /* the ghost alone */
        usleep(100000);
        uint64_t sent = ask(play, "echo:lost", 1500);
        haunt(play, &ghost);
        assert_int_equal(get(play, sent, &reply), is_stale ? FAULT_UNAVAILABLE : FAULT_INTERNAL);
        assert_true(is_stale || slice_eq(reply.body, SLICE("the worker speaks another version")));
        assert_true(ghost.hellos > 0);
        assert_int_equal(ghost.requests, 0);
        struct actor *without[] = {&play->caller, &play->callee};
        introduce(&play->stage, without, 2);
        ghost_close(&ghost);
    }
}

/* ---- bounds */

static void what_is_too_large_is_told(void **state)
{
    struct play *play = *state;
    struct slice why;
    struct fetch_reply reply = {0};
    assert_int_equal(get(play, ask(play, "sign", 0), &reply), FAULT_TOO_LARGE); /* by the sender: there is no signing here */
    char *bytes = arena_alloc_raw(play->stage.arena, 9 * 1024 * 1024);
    memset(bytes, 'x', 9 * 1024 * 1024);
    struct fetch_request large = {.uri = SLICE("echo:x"), .content = slice_of(bytes, 9 * 1024 * 1024)};
    uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &large);
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_fetch, sent, &reply, &why), FAULT_TOO_LARGE);
    struct slice *frames = arena_new_array(play->stage.arena, WIRE_FRAMES_MAX + 10, struct slice);
    struct wire_message many = {.identity = SLICE_ABSENT,
                                .header = {.major = WIRE_MAJOR,
                                           .type = WIRE_REQUEST,
                                           .message = MESSAGE_fetch,
                                           .correlation = ++play->stage.correlation,
                                           .timeout_ms = 20000},
                                .body = {.head = SLICE("\x90"), .frames = {frames, WIRE_FRAMES_MAX + 10}}};
    assert_false(wire_fits(&many.body));
    assert_true(wire_send(play->socket, &many));
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_fetch, many.header.correlation, &reply, &why),
                     FAULT_TOO_LARGE);
    assert_int_equal(get(play, ask(play, "echo:fine", 0), &reply), FAULT_OK);
}

static uint64_t ask_with_a_megabyte(struct play *play, const char *what, const char *lane)
{
    static char bytes[1024 * 1024];
    struct fetch_request request = {.uri = slice_from_cstr(what), .content = slice_of(bytes, sizeof bytes)};
    return send_request(&play->stage, play->socket, MESSAGE_fetch, slice_from_cstr(lane), 20000, &request);
}

/* A quarter of the memory (8 MiB here) may wait in one lane; the others have the rest. */
static void a_full_lane_leaves_room_for_others(void **state)
{
    struct play *play = *state;
    uint64_t sent[5];
    int refused = 0, fine = 0;
    for (int i = 0; i < 4; i++) /* one runs, one waits; what is a little over a megabyte does not fit twice into two */
        sent[i] = ask_with_a_megabyte(play, "sleep:700", "heavy");
    sent[4] = ask_with_a_megabyte(play, "echo:light", "light");
    struct wire_message in;
    for (int i = 0; i < 5; i++) {
        assert_true(receive_within(&play->stage, play->socket, 10000, &in));
        if (in.header.fault) {
            assert_int_equal(in.header.fault, FAULT_UNAVAILABLE);
            assert_true(slice_eq(in.body.head, SLICE("too many calls wait in this lane")));
            assert_true(in.header.correlation == sent[2] || in.header.correlation == sent[3]);
            refused++;
        } else {
            fine++;
        }
    }
    assert_int_equal(refused, 2);
    assert_int_equal(fine, 3);
}

static void overload_and_rank_are_refused(void **state)
{
    struct play *play = *state;
    struct wire_message in;
    for (int i = 0; i < 8; i++)
        ask_with_a_megabyte(play, "sleep:700", NULL);
    int overloaded = 0;
    for (int i = 0; i < 8; i++) {
        assert_true(receive_within(&play->stage, play->socket, 10000, &in));
        overloaded += in.header.fault == FAULT_UNAVAILABLE && slice_eq(in.body.head, SLICE("overloaded"));
    }
    assert_int_equal(overloaded, 1); /* the eighth is over 8 MiB, by the heads */
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "echo:fine", 0), &reply), FAULT_OK);
    struct fetch_request request = {.uri = SLICE("echo:x")};
    struct wire_message out = {.identity = SLICE_ABSENT,
                               .header = {.major = WIRE_MAJOR,
                                          .type = WIRE_REQUEST,
                                          .message = MESSAGE_fetch,
                                          .correlation = ++play->stage.correlation,
                                          .timeout_ms = 5000,
                                          .caller_rank = RANK_sender}};
    message_find(MESSAGE_fetch)->pack_request(play->stage.arena, &request, &out.body);
    assert_true(wire_send(play->socket, &out));
    assert_true(receive_within(&play->stage, play->socket, 5000, &in));
    assert_int_equal(in.header.fault, FAULT_INTERNAL);
    assert_true(slice_eq(in.body.head, SLICE("calls go to higher ranks only")));
}

/* ---- the link thread is held (it is the main thread): the process must not look alive */

static int64_t beats_within(struct play *play, int64_t ms)
{
    int64_t count = 0, until_ms = clock_monotonic_ms() + ms;
    for (int64_t left; (left = until_ms - clock_monotonic_ms()) > 0;) {
        zmq_pollitem_t item = {.fd = play->caller.control, .events = ZMQ_POLLIN};
        struct slice packet;
        if (zmq_poll(&item, 1, left) > 0 && control_receive(play->caller.control, play->stage.arena, &packet))
            count += memmem(packet.at, packet.len, "\"load\"", 6) != NULL;
    }
    return count;
}

static void a_stuck_link_stops_the_heartbeat(void **state)
{
    struct play *play = *state;
    int status;
    assert_true(beats_within(play, 2500) >= 1);
    assert_int_equal(ptrace(PTRACE_SEIZE, play->caller.pid, NULL, NULL), 0);
    assert_int_equal(ptrace(PTRACE_INTERRUPT, play->caller.pid, NULL, NULL), 0);
    assert_int_equal(waitpid(play->caller.pid, &status, 0), play->caller.pid);
    int64_t deadline_ms = clock_monotonic_ms() + 15000;
    while (beats_within(play, 2500) > 0)
        assert_true(clock_monotonic_ms() < deadline_ms);
    assert_int_equal(ptrace(PTRACE_DETACH, play->caller.pid, NULL, NULL), 0);
    assert_non_null(hear(&play->stage, &play->caller, "load"));
}

static void a_callee_that_kills_itself_fails_its_call(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "die", 0), &reply), FAULT_UNAVAILABLE);
    int status;
    assert_int_equal(waitpid(play->callee.pid, &status, 0), play->callee.pid);
    close(play->callee.control);
    play->callee = actor_start(&play->stage, &callee);
    introduce_all(play);
}

static void too_much_memory_ends_the_call_and_nothing_else(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    assert_int_equal(get(play, ask(play, "eat:64", 0), &reply), FAULT_TOO_LARGE);
    assert_int_equal(get(play, ask(play, "eat:4", 0), &reply), FAULT_OK);
}

static void a_fan_out_runs_in_parallel(void **state)
{
    struct play *play = *state;
    struct slice naps[8];
    for (int i = 0; i < 8; i++)
        naps[i] = SLICE("sleep:200");
    struct destination_up_request request = {.destinations = {naps, 8}};
    struct destination_up_reply reply;
    uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_destination_up, SLICE_ABSENT, 20000, &request);
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_destination_up, sent, &reply, NULL), FAULT_OK);
}

static void an_unknown_message_is_refused(void **state)
{
    struct play *play = *state;
    struct room_create_request request = {0};
    struct room_create_reply reply;
    struct slice why;
    uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_room_create, SLICE_ABSENT, 1000, &request);
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_room_create, sent, &reply, &why), FAULT_VERSION_MISMATCH);
}

static void ping_is_answered_while_all_are_busy(void **state)
{
    struct play *play = *state;
    for (int i = 0; i < 12; i++)
        ask(play, "sleep:1200", 0); /* one after another: they share a lane */
    struct ping_request request = {0};
    struct ping_reply reply = {0};
    while (reply.running < 8 || reply.queued < 4) {
        uint64_t sent = send_request(&play->stage, play->socket, MESSAGE_ping, SLICE_ABSENT, 1000, &request);
        assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_ping, sent, &reply, NULL), FAULT_OK);
    }
    assert_int_equal(reply.running, 8);
    assert_int_equal(reply.queued, 4);
    tell(&play->caller, SLICE("{\"type\":\"calls\",\"id\":9}"));
    const struct json *calls = json_get_array(hear(&play->stage, &play->caller, "calls"), "calls");
    assert_int_equal(calls->count, 8);
    assert_true(slice_eq(json_get_string(calls->first, "call"), SLICE("fetch")));
    assert_true(slice_eq(json_get_string(calls->first, "waits_for"), SLICE("resolve")));
    struct wire_message in;
    for (int i = 0; i < 12; i++)
        assert_true(receive_within(&play->stage, play->socket, 30000, &in));
}

static void expired_work_is_dropped(void **state)
{
    struct play *play = *state;
    for (int i = 0; i < 8; i++)
        ask(play, "sleep:400", 0);
    struct fetch_request request = {.uri = SLICE("echo:late")};
    send_request(&play->stage, play->socket, MESSAGE_fetch, SLICE_ABSENT, 50, &request); /* all threads are busy for longer */
    struct wire_message in;
    for (int i = 0; i < 8; i++)
        assert_true(receive_within(&play->stage, play->socket, 10000, &in));
    assert_false(receive_within(&play->stage, play->socket, 300, &in));
}

/* Junk on the socket is dropped; the worker goes on. */
static void malformed_messages_are_dropped(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    zmq_send(play->socket, "", 0, 0);
    zmq_send(play->socket, "short", 5, 0);
    char noise[200];
    memset(noise, 0xdd, sizeof noise);
    zmq_send(play->socket, noise, sizeof noise, 0);
    struct wire_message out = {
        .header = {.major = WIRE_MAJOR, .type = WIRE_REQUEST, .message = MESSAGE_fetch, .correlation = 77, .timeout_ms = 1000},
        .body = {.head = slice_of("\xdd\xff\xff\xff\xff", 5)}};
    assert_true(wire_send(play->socket, &out));
    assert_int_equal(receive_reply(&play->stage, play->socket, MESSAGE_fetch, 77, &reply, NULL), FAULT_VERSION_MISMATCH);
    assert_int_equal(get(play, ask(play, "echo:fine", 0), &reply), FAULT_OK);
}

static void another_major_version_is_told(void **state)
{
    struct play *play = *state;
    struct wire_message out = {.header = {.major = WIRE_MAJOR + 1, .type = WIRE_HELLO}, .body = {.head = SLICE("")}}, in;
    assert_true(wire_send(play->socket, &out));
    assert_true(receive_within(&play->stage, play->socket, 5000, &in));
    assert_int_equal(in.header.type, WIRE_HELLO);
    assert_int_equal(in.header.major, WIRE_MAJOR);
}

/* A drain lets what runs end, and answers it. */
static void draining_finishes_first(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    uint64_t sent = ask(play, "sleep:700", 0);
    usleep(100000);
    tell(&play->caller, SLICE("{\"type\":\"drain\"}"));
    assert_int_equal(get(play, sent, &reply), FAULT_OK);
    assert_non_null(hear(&play->stage, &play->caller, "drained"));
    int status;
    assert_int_equal(waitpid(play->caller.pid, &status, 0), play->caller.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(play->caller.control);
    play->caller.pid = 0;
    kill(play->callee.pid, SIGTERM); /* the same way out */
    assert_int_equal(waitpid(play->callee.pid, &status, 0), play->callee.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(play->callee.control);
    play->callee.pid = 0;
}

/* Others hear late that it drains: what they send in the meantime is still answered. */
static void a_drain_waits_for_the_news_to_spread(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    tell(&play->caller, SLICE("{\"type\":\"drain\"}"));
    usleep(600000); /* the list does not show it yet */
    struct slice list =
        arena_printf(play->stage.arena,
                     "{\"type\":\"peers\",\"generation\":9,\"peers\":[{\"instance\":\"%s\",\"kind\":\"sender\",\"endpoint\":\"%s\","
                     "\"publisher\":\"\",\"version\":\"t\",\"draining\":true},{\"instance\":\"%s\",\"kind\":\"discovery\","
                     "\"endpoint\":\"%s\",\"publisher\":\"\",\"version\":\"t\",\"draining\":false}]}",
                     play->caller.instance, play->caller.endpoint, play->callee.instance, play->callee.endpoint);
    tell(&play->caller, list);
    usleep(100000);
    assert_int_equal(get(play, ask(play, "echo:late", 0), &reply), FAULT_OK);
    assert_non_null(hear(&play->stage, &play->caller, "drained"));
    int status;
    assert_int_equal(waitpid(play->caller.pid, &status, 0), play->caller.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(play->caller.control);
    play->caller.pid = 0;
}

/* Machines, played by data folders: tcp with CURVE. With another secret there is no way in. */
static void machines_talk_over_curve(void **state)
{
    struct play *play = *state;
    struct stage here, there, elsewhere;
    stage_open(&here, "bus_listen=127.0.0.1\ncluster_secret=one secret\n");
    stage_open(&there, "bus_listen=127.0.0.1\ncluster_secret=one secret\n");
    struct actor far = actor_start(&there, &callee), near = actor_start(&here, &caller);
    stage_open(&elsewhere, "bus_listen=127.0.0.1\ncluster_secret=a guess\n");
    struct actor stranger = actor_start(&elsewhere, &caller);
    assert_memory_equal(far.endpoint, "tcp://127.0.0.1:", 16);
    struct actor *actors[] = {&far, &near, &stranger};
    introduce(&here, actors, 3);
    struct actor local; /* each is also reached on its own machine, without CURVE */
    for (int i = 0; i < 2; i++) {
        const struct stage *stage = i ? &elsewhere : &here;
        local = i ? stranger : near;
        snprintf(local.endpoint, sizeof local.endpoint, "ipc://%s/run/sender-%s.sock", stage->folder, local.instance);
        void *socket = dial(&play->stage, &local);
        struct fetch_request request = {.destination = SLICE("lane"), .uri = SLICE("echo:far"), .timeout_ms = 3000};
        struct fetch_reply reply = {0};
        /* The secret is compared before anything is said, so the stranger's calls go nowhere. */
        uint64_t sent = send_request(&play->stage, socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &request);
        assert_int_equal(receive_reply(&play->stage, socket, MESSAGE_fetch, sent, &reply, NULL), i ? FAULT_UNAVAILABLE : FAULT_OK);
        assert_true(i || slice_eq(reply.body, SLICE("far")));
        zmq_close(socket);
    }
    actor_drain(&here, &near);
    actor_drain(&elsewhere, &stranger);
    actor_drain(&there, &far);
    stage_close(&here);
    stage_close(&there);
    stage_close(&elsewhere);
}

/* Two threads, and more calls than that which wait for another worker: what needs nobody else is answered before them. */
static void those_who_wait_leave_their_place(void **state)
{
    struct play *play = *state;
    struct stage small;
    struct fetch_reply reply;
    stage_open(&small, "threads.sender=2\nthreads.discovery=8\n");
    struct actor far = actor_start(&small, &callee), near = actor_start(&small, &caller);
    struct actor *actors[] = {&far, &near};
    introduce(&small, actors, 2);
    void *socket = dial(&small, &near);
    enum { WAITING = 6, CROWD = 60 };
    struct fetch_request wait = {.destination = SLICE_ABSENT, .uri = SLICE("sleep:4000")};
    struct destination_up_request light = {.destinations = {NULL, 0}};
    struct destination_up_reply done;
    for (int i = 0; i < WAITING; i++)
        send_request(&small, socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &wait);
    uint64_t sent = send_request(&small, socket, MESSAGE_destination_up, SLICE_ABSENT, 20000, &light);
    assert_int_equal(receive_reply(&small, socket, MESSAGE_destination_up, sent, &done, NULL),
                     FAULT_CONFLICT); /* it asked nobody */
    struct wire_message in;
    for (int i = 0; i < WAITING; i++)
        assert_true(receive_within(&small, socket, 20000, &in));
    /* More than may ever stand in: they wait for each other, and each is answered. */
    wait.uri = SLICE("sleep:50");
    for (int i = 0; i < CROWD; i++)
        send_request(&small, socket, MESSAGE_fetch, SLICE_ABSENT, 20000, &wait);
    for (int i = 0; i < CROWD; i++) {
        assert_true(receive_within(&small, socket, 20000, &in));
        assert_int_equal(in.header.fault, FAULT_OK);
    }
    zmq_close(socket);
    actor_drain(&small, &near);
    actor_drain(&small, &far);
    stage_close(&small);
    assert_int_equal(get(play, ask(play, "echo:x", 0), &reply), FAULT_OK);
}

/* Prints, asserts nothing: numbers belong to the machine. */
static void round_trips(void **state)
{
    struct play *play = *state;
    struct fetch_reply reply;
    void *direct = dial(&play->stage, &play->callee);
    enum { ROUNDS = 2000, WINDOW = 64 };
    int64_t begun_us = clock_monotonic_us();
    for (int i = 0; i < ROUNDS; i++) {
        struct resolve_request request = {.server_name = SLICE("echo:x")};
        struct resolve_reply answer;
        uint64_t sent = send_request(&play->stage, direct, MESSAGE_resolve, SLICE_ABSENT, 5000, &request);
        assert_int_equal(receive_reply(&play->stage, direct, MESSAGE_resolve, sent, &answer, NULL), FAULT_OK);
    }
    int64_t one_us = clock_monotonic_us() - begun_us;
    begun_us = clock_monotonic_us();
    for (int i = 0; i < ROUNDS; i++)
        assert_int_equal(get(play, ask(play, "echo:x", 0), &reply), FAULT_OK);
    int64_t two_us = clock_monotonic_us() - begun_us;
    begun_us = clock_monotonic_us();
    for (int i = 0; i < ROUNDS * 10 + WINDOW; i++) {
        struct resolve_request request = {.server_name = SLICE("echo:x")};
        struct wire_message in;
        if (i < ROUNDS * 10)
            send_request(&play->stage, direct, MESSAGE_resolve, SLICE_ABSENT, 5000, &request);
        if (i >= WINDOW)
            assert_true(receive_within(&play->stage, direct, 5000, &in));
    }
    int64_t many_us = clock_monotonic_us() - begun_us;
    print_message("one hop %.1f us, two hops %.1f us; with %d in flight %.1f us per call\n", (double)one_us / ROUNDS,
                  (double)two_us / ROUNDS, WINDOW, (double)many_us / ROUNDS / 10);
    zmq_close(direct);
}

int main(int argc, char **argv)
{
    const struct worker_kind *const kinds[] = {getenv("SCRIPTED_OLD") ? &old_callee : &callee, &caller, &outer};
    scripted_main(argc, argv, kinds, 3);
    const struct CMUnitTest tests[] = {
#define PLAY(f) cmocka_unit_test_setup_teardown(f, open_play, close_play)
        PLAY(a_call_passes_two_workers),
        PLAY(those_who_wait_leave_their_place),
        PLAY(a_fault_carries_its_why_and_its_reply),
        PLAY(a_slow_callee_ends_at_the_deadline),
        PLAY(a_death_fails_what_is_in_flight),
        PLAY(a_callee_that_kills_itself_fails_its_call),
        PLAY(a_call_waits_for_somebody_to_come),
        PLAY(a_repeatable_call_survives_its_worker),
        PLAY(another_call_fails_at_once_with_its_worker),
        PLAY(every_owner_is_asked),
        PLAY(who_is_not_meant_gets_nothing),
        PLAY(what_is_too_large_is_told),
        PLAY(a_full_lane_leaves_room_for_others),
        PLAY(overload_and_rank_are_refused),
        PLAY(a_stuck_link_stops_the_heartbeat),
        PLAY(a_drain_waits_for_the_news_to_spread),
        PLAY(too_much_memory_ends_the_call_and_nothing_else),
        PLAY(a_fan_out_runs_in_parallel),
        PLAY(an_unknown_message_is_refused),
        PLAY(ping_is_answered_while_all_are_busy),
        PLAY(expired_work_is_dropped),
        PLAY(malformed_messages_are_dropped),
        PLAY(another_major_version_is_told),
        PLAY(draining_finishes_first),
        PLAY(machines_talk_over_curve),
        PLAY(round_trips),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
