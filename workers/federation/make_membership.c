/* GET make_join, make_leave, make_knock: templates of membership events for other servers' users. */
#include "lib/matrix/ids.h"
#include "lib/store/restricted_join.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/federation/room_access.h"

static bool version_is_offered(struct call *call, struct slice version)
{
    struct slices offered = call_query_all(call, "ver");
    for (size_t i = 0; i < offered.len; i++)
        if (slice_eq(offered.at[i], version))
            return true;
    return offered.len == 0 && slice_eq(version, SLICE("1")); /* the default of the parameter */
}

/* The guards that all three share. False: *answer. */
static bool open_for(struct call *call, struct room_facts *room, bool with_versions, struct reply *answer)
{
    struct slice user_id = call_param(call, "userId");
    if (!user_id_is_valid(user_id) || !slice_eq(id_server_name(user_id), call->origin)) {
        *answer = call_fail(call, FAULT_FORBIDDEN, "The user is not of your server");
        return false;
    }
    if (!room_open(call, NEED_RESIDENT, room, answer))
        return false;
    if (!with_versions || version_is_offered(call, room->room_version))
        return true;
    *answer = room_incompatible(call, room->room_version);
    return false;
}

static struct reply answer_template(struct call *call, const struct room_facts *room, const char *membership, struct slice voucher,
                                    bool authorise)
{
    struct slice user_id = call_param(call, "userId");
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "membership", membership);
    json_put_string(&w, "join_authorised_via_users_server", voucher);
    json_end_object(&w);
    struct room_build_request request = {.room_id = room->room_id,
                                         .type = SLICE("m.room.member"),
                                         .state_key = user_id,
                                         .sender = user_id,
                                         .content = json_done(&w),
                                         .template_only = true,
                                         .authorise = authorise};
    struct room_build_reply built;
    enum fault fault = call_room_build(call, room->room_id, &request, &built);
    if (fault == FAULT_REJECTED)
        return call_failf(call, FAULT_FORBIDDEN, "Not allowed: %.*s", PRI(call->why));
    if (fault)
        return call_fail(call, fault, NULL);
    w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "room_version", built.room_version);
    json_put_raw(&w, "event", built.event);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply make_join(struct call *call)
{
    struct room_facts room;
    struct reply answer;
    struct restricted_join verdict;
    if (!open_for(call, &room, true, &answer))
        return answer;
    enum fault fault = restricted_join_authorise(call, &room, call_param(call, "userId"), &verdict);
    if (fault || verdict.fault)
        return call_fail(call, fault ? fault : verdict.fault, NULL);
    return answer_template(call, &room, "join", verdict.voucher, true);
}

struct reply make_leave(struct call *call)
{
    struct room_facts room;
    struct reply answer;
    return open_for(call, &room, false, &answer) ? answer_template(call, &room, "leave", SLICE_ABSENT, true) : answer;
}

struct reply make_knock(struct call *call)
{
    struct room_facts room;
    struct reply answer;
    return open_for(call, &room, true, &answer) ? answer_template(call, &room, "knock", SLICE_ABSENT, true) : answer;
}
