/* Refusals with errcodes that only this kind gives and faults.def does not list. */
#ifndef MYELIN_ACCOUNTS_REFUSE_H
#define MYELIN_ACCOUNTS_REFUSE_H

#include "lib/kit/call.h"

static inline struct reply refuse(struct call *call, int status, const char *errcode, const char *text)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "errcode", errcode);
    json_put_cstr(&w, "error", text);
    json_end_object(&w);
    call->detail = text;
    return reply_status(status, json_done(&w));
}

#endif
