/* MessagePack as far as the bus needs it: nil, booleans, 64-bit integers, byte strings and arrays of them. Writing is msgpack-c's;
 * reading is ours, because msgpack-c builds an object tree first, and six hostile bytes (an array header of 67 million) make it
 * reserve gigabytes. Here nothing is allocated that the bytes at hand cannot fill, and skipping does not recurse. */
#ifndef MYELIN_PROTO_PACK_H
#define MYELIN_PROTO_PACK_H

#include "lib/base/strbuf.h"

void pack_nil(struct strbuf *out);
void pack_bool(struct strbuf *out, bool value);
void pack_i64(struct strbuf *out, int64_t value);
void pack_slice(struct strbuf *out, struct slice bytes); /* absent: nil */
void pack_array(struct strbuf *out, size_t count);
void pack_slices(struct strbuf *out, struct slices all); /* absent (at == NULL): nil */
void pack_i64s(struct strbuf *out, struct i64s all);

/* The first thing that does not fit sets `failed`; from then on everything reads as zero and absent. */
struct pack_reader {
    const unsigned char *at, *end;
    bool failed;
};
struct pack_reader pack_reader_of(struct slice bytes);
bool pack_at_end(const struct pack_reader *reader);
bool pack_read_nil(struct pack_reader *reader); /* takes a nil if that comes next */
bool pack_next_is_array(const struct pack_reader *reader);
bool pack_read_bool(struct pack_reader *reader);
int64_t pack_read_i64(struct pack_reader *reader);
struct slice pack_read_slice(struct pack_reader *reader); /* borrowed from the bytes; nil: absent */
size_t pack_read_array(struct pack_reader *reader);       /* never more than the bytes left: each element has at least one */
struct slices pack_read_slices(struct pack_reader *reader, struct arena *arena);
struct i64s pack_read_i64s(struct pack_reader *reader, struct arena *arena);
void pack_skip(struct pack_reader *reader); /* one value of any type, whole */

#endif
