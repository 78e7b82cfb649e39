/* GET /_matrix/client/unstable/org.example.next: says which version answers, and whether the frontend that asked had the field that
 * only the next version knows. */
#include "proto/dispatch.h"

struct reply next_version(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "version", MYELIN_VERSION);
    json_put_bool(&w, "frontend_is_next", call->http->next);
    json_end_object(&w);
    return reply_json(&w);
}
