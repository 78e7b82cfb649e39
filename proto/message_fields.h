/* The fields of each message as data: packing, JSON, tests and fuzzers walk these, so that a new message needs none of them
 * touched. */
#ifndef MYELIN_PROTO_MESSAGE_FIELDS_H
#define MYELIN_PROTO_MESSAGE_FIELDS_H

#include "proto/message.h"

enum message_field_type { FIELD_END, FIELD_I64, FIELD_BOOL, FIELD_SLICE, FIELD_SLICES, FIELD_I64S, FIELD_RAW, FIELD_RAWS };

struct message_field {
    enum message_field_type type;
    size_t offset; /* in the request's or reply's struct */
    const char *name;
};

/* In order, ended by FIELD_END. */
const struct message_field *message_fields(const struct message_facts *facts, bool reply);

void message_pack(struct arena *arena, const struct message_field *fields, const void *object, struct packed *out);
bool message_unpack(struct arena *arena, const struct message_field *fields, const struct packed *in, void *object);

#endif
