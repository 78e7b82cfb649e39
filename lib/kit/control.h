/* The control channel between the supervisor and each child: descriptor 3, a stream socketpair; each packet is a 4-byte
 * little-endian length and a JSON object. When it closes, the other side is gone: a child without supervisor exits.
 *   supervisor → child   {"type":"settings","lines":"key=value\n…","data":"/…"}   first
 *                        {"type":"peers","generation":7,"peers":[{"instance":"hex16","kind":"rooms","endpoint":"ipc://…","publisher":"","version":"…","draining":false},…]}
 *                        {"type":"drain"}  {"type":"metrics","id":1}  {"type":"log_level","level":"debug"}
 * {"type":"reload","lines":"…"}  {"type":"calls","id":2} child → supervisor
 * {"type":"ready","instance":"hex16","endpoint":"…","publisher":"…"}   once it can take calls
 *                        {"type":"load","queued":0,"running":0}   every second: the heartbeat; not while the process is stuck
 *                        {"type":"metrics","id":1,"text":"…"}  {"type":"calls","id":2,"calls":[…]}  {"type":"drained"}
 * Unknown types are ignored: old and new versions talk. */
#ifndef MYELIN_KIT_CONTROL_H
#define MYELIN_KIT_CONTROL_H

#include "lib/base/json.h"
#include "lib/kit/registry.h"
#include "lib/kit/settings.h"

enum { CONTROL_DESCRIPTOR = 3, CONTROL_PACKET_MAX = 16 * 1024 * 1024 };

/* Blocking whole-packet I/O; EINTR is handled. False: the other side is gone. Sending is serialised by a mutex inside. */
bool control_send(int descriptor, struct slice json);
bool control_receive(int descriptor, struct arena *arena, struct slice *json);
/* The packet's length field, for those who buffer by themselves. */
void control_length_write(unsigned char out[4], size_t len);
size_t control_length_read(const unsigned char in[4]);

/* The child's side: a thread that reads the channel. */
struct control;
struct control_events { /* all run on the control thread */
    void (*peers)(void *context);
    void (*drain)(void *context);
    void (*reload)(void *context);
    struct slice (*calls)(struct arena *arena, void *context); /* JSON array: what each thread does now */
    bool (*is_alive)(void *context);                           /* false: no heartbeat is sent; NULL: always */
    void (*load)(int64_t *queued, int64_t *running, void *context);
    void *context;
};
/* Waits for the settings packet (10 s), then the first peers packet, then starts the thread, which sends the heartbeat from then
 * on. NULL when there is no supervisor behind the descriptor or its settings are refused (logged). `events` is copied; `peers` is
 * called for every list after the first. When the channel closes later the thread ends the process. */
struct control *control_attach(int descriptor, const struct control_events *events);
const struct settings *
control_settings(const struct control *control);            /* the newest; the first stay valid for ever, others for an hour more */
const struct peers *control_peers(struct control *control); /* counted reference to the newest list, never NULL */
void control_peers_release(const struct peers *peers);
void control_ready(struct control *control, uint64_t instance, const char *endpoint, const char *publisher);
void control_drained(struct control *control);

#endif
