/* Structs, packing and facts of every bus message, from messages.def. See proto/README.md for the rules of change. */
#ifndef MYELIN_PROTO_MESSAGE_H
#define MYELIN_PROTO_MESSAGE_H

#include "lib/base/arena.h"
#include "proto/fault.h"
#include "proto/service.h"

#define SERVICE_any SERVICE_COUNT
#define RANK_any 99

/* How room_receive takes its PDUs. */
enum receive_mode {
    RECEIVE_LIVE,       /* new events: soft-fail checks, move the extremities */
    RECEIVE_BACKFILL,   /* history: room_pos counts downwards, extremities stay */
    RECEIVE_OUTLIER,    /* auth and state events without a place in the timeline */
    RECEIVE_WITH_STATE, /* live, but prev events of pdus[0] are unknown here: the states after them are given by state_event_ids */
};

/* struct <name>_request and struct <name>_reply */
#define REQUEST(name, id, kind) struct name##_request {
#define REPLY(name) struct name##_reply {
#define F_I64(field) int64_t field;
#define F_BOOL(field) bool field;
#define F_SLICE(field) struct slice field;
#define F_SLICES(field) struct slices field;
#define F_I64S(field) struct i64s field;
#define F_RAW(field) struct slice field;
#define F_RAWS(field) struct slices field;
#define END \
    char end_; \
    } \
    ;
#include "proto/messages.def"
#include "proto/message_undef.h"

enum message_id {
#define REQUEST(name, id, kind) MESSAGE_##name = id,
#define REPLY(name)
#define F_I64(field)
#define F_BOOL(field)
#define F_SLICE(field)
#define F_SLICES(field)
#define F_I64S(field)
#define F_RAW(field)
#define F_RAWS(field)
#define END
#include "proto/messages.def"
#include "proto/message_undef.h"
};

/* A packed body: one msgpack array, and the raw frames in order. Borrowed by unpacked structs: keep it as long as they live. */
struct packed {
    struct slice head;
    struct slices frames;
};

struct message_facts {
    enum message_id id;
    const char *name;
    enum service kind; /* SERVICE_any: every kind answers it */
    size_t request_size, reply_size;
    void (*pack_request)(struct arena *arena, const void *request, struct packed *out);
    bool (*unpack_request)(struct arena *arena, const struct packed *in, void *request);
    void (*pack_reply)(struct arena *arena, const void *reply, struct packed *out);
    bool (*unpack_reply)(struct arena *arena, const struct packed *in, void *reply);
};

const struct message_facts *message_find(unsigned id); /* NULL when unknown */
bool message_is_repeatable(enum message_id id);        /* repeatable.def */
const struct message_facts *message_find_name(const char *name);
const struct message_facts *message_at(size_t index); /* NULL past the end */
/* {"payloads":["…"]} ↔ a packed message, for the control tool and the fuzzers. */
struct slice message_to_json(struct arena *arena, const struct message_facts *facts, bool reply, const struct packed *in);
enum fault message_from_json(struct arena *arena, const struct message_facts *facts, bool reply, struct slice json,
                             struct packed *out);

#endif
