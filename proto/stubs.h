/* A typed call for every message: enum fault call_<name>(call, lane, &request, &reply), on top of call_bus (lib/kit/call.h). Calls
 * go only to kinds of a higher rank than MYELIN_KIND's, so that pools of handlers cannot wait for each other in a circle: using any
 * other stub does not compile. (Where a compiler does not know the attribute, it does not link.) */
#ifndef MYELIN_PROTO_STUBS_H
#define MYELIN_PROTO_STUBS_H

#include "lib/kit/call.h"
#include "proto/kind_only.h"

/* Defined nowhere. */
__attribute__((error("this kind ranks too low to be called from here: see proto/services.def"))) void stub_ranks_too_low(void);

#define STUB_MAY_CALL(kind) (SERVICE_##kind < SERVICE_COUNT && RANK_OF_THIS < RANK_##kind)

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
#define REQUEST(name, id, kind) \
    static inline enum fault call_##name(struct call *call, struct slice lane, const struct name##_request *request, \
                                         struct name##_reply *reply) \
    { \
        if (!STUB_MAY_CALL(kind)) \
            stub_ranks_too_low(); \
        return call_bus(call, message_find(MESSAGE_##name), lane, request, reply); \
    } \
    /* The first half of a fan-out; collect with call_bus_wait. */ \
    static inline struct bus_ticket *call_##name##_send(struct call *call, struct slice lane, const struct name##_request *request) \
    { \
        if (!STUB_MAY_CALL(kind)) \
            stub_ranks_too_low(); \
        return call_bus_send(call, message_find(MESSAGE_##name), lane, request); \
    }
#include "proto/messages.def"
#include "proto/message_undef.h"
/* clang-format on */

#endif
