/* The header's bytes, multipart messages over real sockets, and CURVE: who does not have the secret gets no handshake. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <zmq.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/kit/wire_internal.h"

static const struct wire_header sample = {
    .major = WIRE_MAJOR,
    .minor = WIRE_MINOR,
    .type = WIRE_REQUEST,
    .message = 0x0501,
    .fault = 0x1234,
    .correlation = UINT64_C(0x1122334455667788),
    .timeout_ms = 0xdeadbeef,
    .lane = UINT64_C(0xa1b2c3d4e5f60718),
    .caller_rank = 7,
    .trace = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
};

static void the_header_is_these_bytes(void **state)
{
    static const uint8_t expected[WIRE_HEADER_BYTES] = {
        'M',  'y',  1,    0,    2,    7,    0x01, 0x05, 0x34, 0x12, 0,    0,    0xef, 0xbe, 0xad, 0xde, 0x88, 0x77, 0x66,
        0x55, 0x44, 0x33, 0x22, 0x11, 0x18, 0x07, 0xf6, 0xe5, 0xd4, 0xc3, 0xb2, 0xa1, 1,    2,    3,    4,    5,    6,
        7,    8,    9,    10,   11,   12,   13,   14,   15,   16,   0,    0,    0,    0,    0,    0,    0,    0};
    uint8_t bytes[WIRE_HEADER_BYTES];
    struct wire_header back;
    wire_header_write(bytes, &sample);
    assert_memory_equal(bytes, expected, sizeof bytes);
    assert_true(wire_header_read(slice_of(bytes, sizeof bytes), &back));
    assert_memory_equal(&back.trace, &sample.trace, 16);
    assert_true(back.correlation == sample.correlation && back.lane == sample.lane && back.timeout_ms == sample.timeout_ms &&
                back.message == sample.message && back.fault == sample.fault && back.caller_rank == 7 && back.type == WIRE_REQUEST);
}

static void other_headers_are_refused(void **state)
{
    uint8_t bytes[WIRE_HEADER_BYTES + 8] = {0};
    struct wire_header header = sample, back;
    wire_header_write(bytes, &sample);
    for (size_t len = 0; len < WIRE_HEADER_BYTES; len++)
        assert_false(wire_header_read(slice_of(bytes, len), &back));
    assert_true(wire_header_read(slice_of(bytes, sizeof bytes), &back)); /* a newer minor version may append */
    header.major = WIRE_MAJOR + 1;
    wire_header_write(bytes, &header);
    assert_false(wire_header_read(slice_of(bytes, WIRE_HEADER_BYTES), &back));
    header.type = WIRE_HELLO; /* the one thing that is read in any version */
    wire_header_write(bytes, &header);
    assert_true(wire_header_read(slice_of(bytes, WIRE_HEADER_BYTES), &back));
    bytes[0] = 'X';
    assert_false(wire_header_read(slice_of(bytes, WIRE_HEADER_BYTES), &back));
}

/* ---- sockets */

struct line {
    void *zmq, *router, *dealer;
    char endpoint[128];
};

static bool readable(void *socket, long ms)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    return zmq_poll(&item, 1, ms) > 0;
}

static struct line line_open(const char *endpoint, const char *server_secret, const char *client_secret)
{
    struct settings server = {.cluster_secret = server_secret}, client = {.cluster_secret = client_secret};
    struct line line = {.zmq = zmq_ctx_new()};
    size_t size = sizeof line.endpoint;
    line.router = zmq_socket(line.zmq, ZMQ_ROUTER);
    line.dealer = zmq_socket(line.zmq, ZMQ_DEALER);
    assert_true(wire_secure_socket(line.zmq, line.router, &server, endpoint, true));
    assert_int_equal(zmq_bind(line.router, endpoint), 0);
    assert_int_equal(zmq_getsockopt(line.router, ZMQ_LAST_ENDPOINT, line.endpoint, &size), 0);
    assert_true(wire_secure_socket(line.zmq, line.dealer, &client, line.endpoint, false));
    assert_int_equal(zmq_connect(line.dealer, line.endpoint), 0);
    return line;
}

static void line_close(struct line *line)
{
    zmq_close(line->dealer);
    zmq_close(line->router);
    zmq_ctx_term(line->zmq);
}

static bool send_until(void *socket, const struct wire_message *message, int64_t ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + ms;
    bool sent;
    while (!(sent = wire_send(socket, message)) && errno == EAGAIN && clock_monotonic_ms() < deadline_ms)
        readable(socket, 10);
    return sent;
}

static void talk(const char *endpoint, const char *secret)
{
    struct arena *arena = arena_create(64 * 1024 * 1024);
    struct line line = line_open(endpoint, secret, secret);
    struct slice frames[] = {SLICE("one"), SLICE(""), slice_of(arena_alloc(arena, 300000), 300000)};
    struct wire_message out = {.header = sample, .body = {.head = SLICE("head"), .frames = {frames, 3}}}, in, back;
    assert_true(send_until(line.dealer, &out, 5000));
    assert_true(readable(line.router, 5000));
    assert_true(wire_receive(line.router, arena, true, &in));
    assert_true(in.identity.len > 0);
    assert_true(slice_eq(in.body.head, out.body.head));
    assert_int_equal(in.body.frames.len, 3);
    for (int i = 0; i < 3; i++)
        assert_true(slice_eq(in.body.frames.at[i], frames[i]));
    in.header.type = WIRE_REPLY;
    in.body.frames.len = 0;
    assert_true(wire_send(line.router, &in));
    assert_true(readable(line.dealer, 5000));
    assert_true(wire_receive(line.dealer, arena, false, &back));
    assert_int_equal(back.header.correlation, sample.correlation);
    assert_int_equal(back.body.frames.len, 0);
    assert_false(wire_receive(line.dealer, arena, false, &back));
    assert_int_equal(errno, EAGAIN);
    line_close(&line);
    arena_destroy(&arena);
}

static void ipc_and_curve_carry_messages(void **state)
{
    char path[64];
    snprintf(path, sizeof path, "ipc:///tmp/myelin-test-wire-%d", (int)getpid());
    talk(path, "");
    unlink(path + 6);
    talk("tcp://127.0.0.1:*", "a secret");
}

static void junk_is_dropped_whole(void **state)
{
    struct arena *arena = arena_create(1024 * 1024);
    struct line line = line_open("tcp://127.0.0.1:*", "s", "s");
    struct wire_message good = {.header = sample, .body = {.head = SLICE("h")}}, in;
    assert_true(send_until(line.dealer, &good, 5000));
    for (int parts = 1; parts < 5; parts++) {
        for (int i = 0; i < parts; i++)
            zmq_send(line.dealer, "junk", 4, i + 1 < parts ? ZMQ_SNDMORE : 0);
    }
    assert_true(send_until(line.dealer, &good, 5000));
    int good_ones = 0, bad_ones = 0;
    while (good_ones < 2 && readable(line.router, 5000)) {
        if (wire_receive(line.router, arena, true, &in))
            good_ones++;
        else if (errno == EPROTO)
            bad_ones++;
    }
    assert_int_equal(good_ones, 2);
    assert_int_equal(bad_ones, 4);
    line_close(&line);
    arena_destroy(&arena);
}

static void wait_for_event(void *monitor, uint16_t wanted)
{
    for (uint16_t event = 0; event != wanted;) {
        uint8_t frame[6];
        assert_true(readable(monitor, 5000));
        assert_int_equal(zmq_recv(monitor, frame, sizeof frame, 0), sizeof frame);
        memcpy(&event, frame, sizeof event);
        assert_true(zmq_recv(monitor, frame, sizeof frame, 0) >= 0); /* the address */
    }
}

/* The peer dies between two frames of a message: that one is lost, the next one arrives whole at whoever comes in its place. */
static void a_peer_dies_in_the_middle_of_a_message(void **state)
{
    struct settings none = {.cluster_secret = ""};
    struct arena *arena = arena_create(1024 * 1024);
    struct slice frames[] = {SLICE("one"), SLICE("two"), SLICE("three")};
    char path[64];
    snprintf(path, sizeof path, "ipc:///tmp/myelin-test-death-%d", (int)getpid());
    for (size_t sent = 1; sent < 4; sent++) {
        struct line line = line_open(path, "", "");
        void *monitor = zmq_socket(line.zmq, ZMQ_PAIR);
        struct wire_message good = {.header = sample, .body = {.head = SLICE("whole")}}, in;
        assert_int_equal(
            zmq_socket_monitor(line.dealer, "inproc://monitor", ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED), 0);
        assert_int_equal(zmq_connect(monitor, "inproc://monitor"), 0);
        assert_true(send_until(line.dealer, &good, 5000));
        assert_true(readable(line.router, 5000));
        assert_true(wire_receive(line.router, arena, true, &in));
        assert_true(wire_send(line.router, &in)); /* an answer that is not read yet keeps the dead connection's end open */
        assert_true(readable(line.dealer, 5000));
        /* Small frames and no header: libzmq forgets to free what it took of a torn message when that is not inside of the frame.
         */
        struct parcel *parcel = parcel_create(SLICE_ABSENT, NULL, SLICE("torn"), (struct slices){frames, 3});
        for (size_t i = 0; i < sent; i++)
            assert_true(zmq_msg_send(&parcel->frames[i], line.dealer, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0);
        zmq_close(line.router);
        wait_for_event(monitor, ZMQ_EVENT_DISCONNECTED);
        readable(line.dealer, 0); /* ZeroMQ looks at its mail */
        assert_true(parcel_send_from(line.dealer, &parcel, sent));
        assert_null(parcel);
        wire_receive(line.dealer, arena, false, &in); /* if it is still there */
        line.router = zmq_socket(line.zmq, ZMQ_ROUTER);
        assert_true(wire_secure_socket(line.zmq, line.router, &none, path, true));
        assert_int_equal(zmq_bind(line.router, path), 0);
        wait_for_event(monitor, ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
        assert_true(send_until(line.dealer, &good, 5000));
        assert_true(readable(line.router, 5000));
        assert_true(wire_receive(line.router, arena, true, &in));
        assert_true(slice_eq(in.body.head, SLICE("whole")));
        assert_int_equal(in.body.frames.len, 0);
        zmq_socket_monitor(line.dealer, NULL, 0);
        zmq_close(monitor);
        line_close(&line);
    }
    unlink(path + 6);
    arena_destroy(&arena);
}

static void without_the_secret_there_is_no_handshake(void **state)
{
    struct wire_message out = {.header = sample, .body = {.head = SLICE("h")}};
    struct line line = line_open("tcp://127.0.0.1:*", "the secret", "a guess");
    send_until(line.dealer, &out, 500);
    assert_false(readable(line.router, 500));
    line_close(&line);
}

/* The server's public key is not enough: CURVE alone would let any client key in, the ZAP handler does not. */
static void a_stranger_with_the_servers_key_is_refused(void **state)
{
    struct line line = line_open("tcp://127.0.0.1:*", "the secret", "the secret");
    char server_key[41], public_key[41], secret_key[41];
    size_t size = sizeof server_key;
    assert_int_equal(zmq_getsockopt(line.router, ZMQ_CURVE_PUBLICKEY, server_key, &size), 0);
    assert_int_equal(zmq_curve_keypair(public_key, secret_key), 0);
    void *stranger = zmq_socket(line.zmq, ZMQ_DEALER);
    int no_linger = 0;
    zmq_setsockopt(stranger, ZMQ_LINGER, &no_linger, sizeof no_linger);
    assert_int_equal(zmq_setsockopt(stranger, ZMQ_CURVE_SERVERKEY, server_key, 41), 0);
    assert_int_equal(zmq_setsockopt(stranger, ZMQ_CURVE_PUBLICKEY, public_key, 41), 0);
    assert_int_equal(zmq_setsockopt(stranger, ZMQ_CURVE_SECRETKEY, secret_key, 41), 0);
    assert_int_equal(zmq_connect(stranger, line.endpoint), 0);
    zmq_send(stranger, "x", 1, ZMQ_DONTWAIT);
    assert_false(readable(line.router, 500));
    zmq_close(stranger);
    void *plain = zmq_socket(line.zmq, ZMQ_DEALER); /* and without CURVE at all */
    zmq_setsockopt(plain, ZMQ_LINGER, &no_linger, sizeof no_linger);
    assert_int_equal(zmq_connect(plain, line.endpoint), 0);
    zmq_send(plain, "x", 1, ZMQ_DONTWAIT);
    assert_false(readable(line.router, 500));
    zmq_close(plain);
    line_close(&line);
}

static void tcp_needs_a_secret(void **state)
{
    struct settings none = {.cluster_secret = ""};
    void *zmq = zmq_ctx_new(), *socket = zmq_socket(zmq, ZMQ_ROUTER);
    assert_false(wire_secure_socket(zmq, socket, &none, "tcp://127.0.0.1:*", true));
    zmq_close(socket);
    zmq_ctx_term(zmq);
}

int main(void)
{
    log_init("test", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_is_these_bytes),
        cmocka_unit_test(other_headers_are_refused),
        cmocka_unit_test(ipc_and_curve_carry_messages),
        cmocka_unit_test(junk_is_dropped_whole),
        cmocka_unit_test(a_peer_dies_in_the_middle_of_a_message),
        cmocka_unit_test(without_the_secret_there_is_no_handshake),
        cmocka_unit_test(a_stranger_with_the_servers_key_is_refused),
        cmocka_unit_test(tcp_needs_a_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
