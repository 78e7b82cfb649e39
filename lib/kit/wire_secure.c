/* Options of every bus socket, and CURVE between machines. Both key pairs, the servers' and the clients', are derived from the one
 * cluster secret, so there is nothing to hand out; who has the secret is a peer, and nobody else gets a handshake. A CURVE server
 * without a ZAP handler accepts any client key, so each context gets a small thread that lets only the clients' key in. */
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <zmq.h>

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/wire.h"

enum {
    HEARTBEAT_MS = 1000,
    HEARTBEAT_TIMEOUT_MS = 3000,
    QUEUE_MAX = 10000, /* messages per connection */
    RECONNECT_MS = 100,
    FRAME_MAX = 256 * 1024 * 1024,
    Z85_BYTES = 41,
};

struct key_pair {
    uint8_t public_bytes[32];
    char public_z85[Z85_BYTES], secret_z85[Z85_BYTES];
};

static bool derive_pair(const char *secret, const char *role, struct key_pair *out)
{
    uint8_t seed[32];
    crypto_generichash_state state;
    crypto_generichash_init(&state, (const uint8_t *)"myelin bus 1", 12, sizeof seed);
    crypto_generichash_update(&state, (const uint8_t *)role, strlen(role) + 1);
    crypto_generichash_update(&state, (const uint8_t *)secret, strlen(secret));
    crypto_generichash_final(&state, seed, sizeof seed);
    bool fine = zmq_z85_encode(out->secret_z85, seed, sizeof seed) && zmq_curve_public(out->public_z85, out->secret_z85) == 0 &&
                zmq_z85_decode(out->public_bytes, out->public_z85);
    sodium_memzero(seed, sizeof seed);
    return fine;
}

/* ---- ZAP (rfc.zeromq.org/spec/27): version, request id, domain, address, identity, mechanism, client key */

struct zap {
    void *socket;
    uint8_t allowed[32];
};

static void zap_reply(void *socket, const void *request_id, size_t request_id_len, bool allowed)
{
    zmq_send(socket, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(socket, request_id, request_id_len, ZMQ_SNDMORE);
    zmq_send(socket, allowed ? "200" : "400", 3, ZMQ_SNDMORE);
    zmq_send(socket, allowed ? "OK" : "No", 2, ZMQ_SNDMORE);
    zmq_send(socket, "", 0, ZMQ_SNDMORE);
    zmq_send(socket, "", 0, 0);
}

static void *zap_thread(void *context)
{
    struct zap *zap = context;
    for (;;) {
        char frames[8][256];
        size_t lens[8] = {0};
        int count = 0, more = 1;
        size_t size = sizeof more;
        bool broken = false;
        while (more && !broken) {
            char *at = count < 8 ? frames[count] : frames[7];
            int len = zmq_recv(zap->socket, at, sizeof frames[0], 0);
            if (len < 0 && errno == EINTR)
                continue;
            broken = len < 0; /* ETERM: the context ends */
            if (count < 8)
                lens[count++] = len < (int)sizeof frames[0] ? (size_t)(len > 0 ? len : 0) : 0;
            zmq_getsockopt(zap->socket, ZMQ_RCVMORE, &more, &size);
        }
        if (broken)
            break;
        bool allowed = count >= 7 && lens[5] == 5 && memcmp(frames[5], "CURVE", 5) == 0 && lens[6] == sizeof zap->allowed &&
                       sodium_memcmp(frames[6], zap->allowed, sizeof zap->allowed) == 0;
        if (!allowed)
            log_event(LOG_WARN, "a peer without the cluster's secret was refused",
                      LOG_STR("address", slice_of(frames[3], lens[3])));
        zap_reply(zap->socket, frames[1], lens[1], allowed);
    }
    zmq_close(zap->socket);
    free(zap);
    return NULL;
}

/* One handler per context: a second bind says EADDRINUSE, which is as good. */
static bool zap_start(void *zmq_context, const struct key_pair *clients)
{
    struct zap *zap = calloc(1, sizeof *zap);
    ensure(zap);
    memcpy(zap->allowed, clients->public_bytes, sizeof zap->allowed);
    zap->socket = zmq_socket(zmq_context, ZMQ_REP);
    int no_linger = 0;
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    bool bound = zap->socket && zmq_setsockopt(zap->socket, ZMQ_LINGER, &no_linger, sizeof no_linger) == 0 &&
                 zmq_bind(zap->socket, "inproc://zeromq.zap.01") == 0;
    bool there = !bound && errno == EADDRINUSE;
    bool started = bound && pthread_create(&thread, &attributes, zap_thread, zap) == 0;
    pthread_attr_destroy(&attributes);
    if (!started) {
        if (zap->socket)
            zmq_close(zap->socket);
        free(zap);
    }
    return started || there;
}

/* ---- options */

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

static bool set_curve(void *zmq_context, void *socket, const char *secret, bool server)
{
    struct key_pair servers, clients;
    if (sodium_init() < 0 || !*secret || !derive_pair(secret, "server", &servers) || !derive_pair(secret, "client", &clients))
        return false;
    const struct key_pair *own = server ? &servers : &clients;
    bool fine = zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, own->secret_z85, Z85_BYTES) == 0 &&
                zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, own->public_z85, Z85_BYTES) == 0;
    if (server)
        fine = fine && zap_start(zmq_context, &clients) && set_int(socket, ZMQ_CURVE_SERVER, 1) &&
               zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "myelin", 6) == 0;
    else
        fine = fine && zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, servers.public_z85, Z85_BYTES) == 0;
    sodium_memzero(&servers, sizeof servers);
    sodium_memzero(&clients, sizeof clients);
    return fine;
}

bool wire_secure_socket(void *zmq_context, void *socket, const struct settings *settings, const char *endpoint, bool server)
{
    int64_t frame_max = FRAME_MAX;
    bool fine = set_int(socket, ZMQ_LINGER, 0) && set_int(socket, ZMQ_SNDHWM, QUEUE_MAX) &&
                set_int(socket, ZMQ_RCVHWM, QUEUE_MAX) && set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS) &&
                zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max) == 0;
    /* One side asks, the other answers and notices silence by the time to live: half the packets of both asking. */
    if (!server)
        fine = fine && set_int(socket, ZMQ_IMMEDIATE, 1) && set_int(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) &&
               set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS) &&
               set_int(socket, ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS);
    if (fine && strncmp(endpoint, "tcp://", 6) == 0)
        fine = set_curve(zmq_context, socket, settings->cluster_secret, server);
    if (!fine)
        log_event(LOG_ERROR, "a bus socket cannot be set up", LOG_CSTR("endpoint", endpoint), LOG_CSTR("why", zmq_strerror(errno)));
    return fine;
}
