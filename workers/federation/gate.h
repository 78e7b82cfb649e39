/* Who may keep a handler thread waiting for other servers. The threads are many and wait most of their time, but inbound
 * transactions and reads must always find one free, however slow the servers are that we ask: so gaps and what our own users ask of
 * other servers (joins, invites, history) each get a part of them only. Any thread. */
#ifndef MYELIN_FEDERATION_GATE_H
#define MYELIN_FEDERATION_GATE_H

#include "lib/kit/call.h"

enum gate { GATE_GAP, GATE_OUTBOUND, GATE_COUNT };
struct gate_place;

void gates_start(struct worker *worker);
/* Waits a moment for a place when there is none, if not too many wait already. UNAVAILABLE: come again later. The place is left by
 * gate_leave, or when the call ends. */
enum fault gate_enter(struct call *call, enum gate gate, struct gate_place **place);
void gate_leave(struct gate_place *place);

#endif
