/* Between stream.c (any thread) and link_stream.c (the link thread). */
#ifndef MYELIN_KIT_STREAM_INTERNAL_H
#define MYELIN_KIT_STREAM_INTERNAL_H

#include "lib/kit/stream.h"

struct parcel;

struct listener {
    struct listener *next;
    enum service kind;
    stream_listener *heard;
    void *context;
};

/* Sequence and instance are filled in when it leaves. */
struct parcel *publication_create(enum stream_kind kind, struct slice key, int64_t pos, int64_t horizon, struct slice payload);

#endif
