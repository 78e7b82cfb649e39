/* Whom a worker calls: all owners in turn, but nobody whose hello says that he is another or speaks another version, and nobody who
 * does not know the secret. */
#define MYELIN_KIND sender
#include "worker_play.h"

/* An older version of it: the kit says VERSION_MISMATCH. */
static const struct worker_message old_callee_messages[] = {{0, NULL}};
static const struct worker_kind old_callee = {.service = SERVICE_discovery, .messages = old_callee_messages};

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
    await_told(play, &play->caller);
    /* The caller's handler returned VERSION_MISMATCH, which is the kit's to say. */
    assert_int_equal(get(play, ask(play, "echo:x", 0), &reply), FAULT_INTERNAL);
    actors_drain(&play->stage, actors, 3);
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
        await_told(play, &play->caller);
        uint64_t sent = ask(play, "echo:lost", 15000);
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
        struct fetch_request request = {.destination = SLICE("lane"), .uri = SLICE("echo:far"), .timeout_ms = 15000};
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

int main(int argc, char **argv)
{
    const struct worker_kind *const kinds[] = {getenv("SCRIPTED_OLD") ? &old_callee : &callee, &caller};
    scripted_main(argc, argv, kinds, 2);
    const struct CMUnitTest tests[] = {
        PLAY(every_owner_is_asked),
        PLAY(who_is_not_meant_gets_nothing),
        PLAY(machines_talk_over_curve),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
