/* Whole packets on the control channel: a 4-byte little-endian length, then one JSON object. Blocking; for the child's side, the
 * tool and tests. The supervisor, which must never wait for a child, has its own buffered reader and writer. */
#include "lib/kit/control.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_mutex_t sending = PTHREAD_MUTEX_INITIALIZER; /* packets of several threads must not mix */

static bool write_all(int descriptor, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len) {
        ssize_t sent = send(descriptor, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool read_all(int descriptor, void *bytes, size_t len)
{
    char *at = bytes;
    while (len) {
        ssize_t got = recv(descriptor, at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        len -= (size_t)got;
    }
    return true;
}

void control_length_write(unsigned char out[4], size_t len)
{
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(len >> (8 * i));
}

size_t control_length_read(const unsigned char in[4])
{
    return in[0] | (size_t)in[1] << 8 | (size_t)in[2] << 16 | (size_t)in[3] << 24;
}

bool control_send(int descriptor, struct slice json)
{
    unsigned char length[4];
    if (json.len > CONTROL_PACKET_MAX)
        return false;
    control_length_write(length, json.len);
    pthread_mutex_lock(&sending);
    bool sent = write_all(descriptor, length, sizeof length) && write_all(descriptor, json.at, json.len);
    pthread_mutex_unlock(&sending);
    return sent;
}

bool control_receive(int descriptor, struct arena *arena, struct slice *json)
{
    unsigned char length[4];
    if (!read_all(descriptor, length, sizeof length))
        return false;
    size_t len = control_length_read(length);
    if (len > CONTROL_PACKET_MAX)
        return false;
    char *bytes = arena_alloc_raw(arena, len + 1);
    if (!read_all(descriptor, bytes, len))
        return false;
    *json = slice_of(bytes, len);
    return true;
}
