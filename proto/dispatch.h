/* What a kind must answer, from the tables: for each of its routes `struct reply <handler>(struct call *)`, for each of its
 * messages `enum fault answer_<name>(struct call *, const struct <name>_request *, struct <name>_reply *)`. Handler files include
 * this for their prototypes. main.c defines MYELIN_DISPATCH first and gets the tables as well: dispatch_routes and
 * dispatch_messages, for struct worker_kind. A row without a handler does not link. */
#ifndef MYELIN_PROTO_DISPATCH_H
#define MYELIN_PROTO_DISPATCH_H

#include "lib/kit/worker.h"
#include "proto/kind_only.h"

#define F_I64(field)
#define F_BOOL(field)
#define F_SLICE(field)
#define F_SLICES(field)
#define F_I64S(field)
#define F_RAW(field)
#define F_RAWS(field)
#define END
#define REPLY(name)
/* clang-format off */
#define ROUTE(method, path, auth, rate, body, body_cap, kind, handler, lane, reference) \
    KIND_ONLY(kind, struct reply handler(struct call *call);)
#include "proto/routes.def"
#undef ROUTE

#define REQUEST(name, id, kind) \
    KIND_ONLY(kind, enum fault answer_##name(struct call *call, const struct name##_request *request, struct name##_reply *reply);)
#include "proto/messages.def"
#undef REQUEST

#ifdef MYELIN_DISPATCH
#define REQUEST(name, id, kind) \
    KIND_ONLY(kind, static enum fault dispatch_##name(struct call *call, const void *request, void *reply) \
    { \
        return answer_##name(call, request, reply); \
    })
#include "proto/messages.def"
#undef REQUEST

static const struct worker_message dispatch_messages[] = {
#define REQUEST(name, id, kind) KIND_ONLY(kind, {id, dispatch_##name},)
#include "proto/messages.def"
    {0, NULL},
};

static const struct worker_route dispatch_routes[] = {
#define ROUTE(method, path, auth, rate, body, body_cap, kind, handler, lane, reference) KIND_ONLY(kind, {#handler, handler},)
#include "proto/routes.def"
#undef ROUTE
    {NULL, NULL},
};
#endif
#include "proto/message_undef.h"
/* clang-format on */

#endif
