/* POST …/account/deactivate (Client-Server API "Account registration and management"). The user leaves his rooms first: while the
 * account still stands, a lost reply can be asked for again. */
#include "lib/base/base64.h"
#include "lib/base/log.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/accounts/device_lists.h"
#include "workers/accounts/device_remove.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/session.h"
#include "workers/accounts/ui_auth.h"

/* A room without members here is one we were invited to: the invitation is dropped, its server is not asked. */
static enum fault leave(struct call *call, struct slice user_id, const struct rooms_to_leave_row *room)
{
    if (!room->we_are_in) {
        struct room_outlier_membership_request drop = {
            .room_id = room->room_id, .room_version = room->room_version, .user_id = user_id, .forget = true};
        struct room_outlier_membership_reply dropped;
        return call_room_outlier_membership(call, room->room_id, &drop, &dropped);
    }
    const struct slice type = SLICE("m.room.member"), content = SLICE("{\"membership\":\"leave\"}");
    struct room_append_request request = {.room_id = room->room_id,
                                          .types = {&type, 1},
                                          .state_keys = {&user_id, 1},
                                          .senders = {&user_id, 1},
                                          .contents = {&content, 1}};
    struct room_append_reply reply;
    return call_room_append(call, room->room_id, &request, &reply);
}

/* A room that refuses is left behind: the account goes all the same. */
static enum fault leave_rooms(struct call *call, struct slice user_id)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_rooms_to_leave(batch, user_id);
    enum fault fault = db_run(batch);
    struct rooms_to_leave_row row;
    while (!fault && rooms_to_leave_next(result, &row)) {
        enum fault refused = leave(call, user_id, &row);
        if (refused == FAULT_UNAVAILABLE || refused == FAULT_DEADLINE)
            return refused;
        if (refused)
            log_event(LOG_INFO, "deactivated user stays in room", LOG_STR("room", row.room_id), LOG_STR("why", call->why));
    }
    return fault;
}

static enum fault close_account(struct call *call, struct slice user_id, bool erase)
{
    struct slices devices;
    enum fault fault = devices_except(call, user_id, SLICE_ABSENT, &devices);
    if (fault)
        return fault;
    struct changes changes = changes_in(call);
    struct db_batch *transaction = call_transaction(call);
    q_account_deactivate(transaction, user_id);
    q_cross_signing_clear(transaction, user_id);
    q_account_data_clear(transaction, user_id);
    if (erase)
        q_profile_clear(transaction, user_id);
    fault = devices_remove_in(call, transaction, user_id, devices, &changes);
    if (fault)
        return fault;
    struct db_result *tokens = q_tokens_drop_all(transaction, user_id);
    if ((fault = db_commit(transaction)))
        return fault;
    TOKENS_DROPPED(&changes, tokens, tokens_drop_all_row, tokens_drop_all_next);
    changes_publish(&changes);
    device_lists_tell(call, user_id);
    return FAULT_OK;
}

struct reply deactivate(struct call *call)
{
    static const struct body_member members[] = {{"erase", JSON_BOOL}, {NULL, JSON_NULL}};
    struct reply answer;
    struct slice user_id = call->requester.user_id;
    enum fault fault = ui_auth_recall(call);
    if (fault)
        return call_fail(call, fault, NULL);
    if (!call_members_fit(call, call->json, members, &answer) || !ui_auth(call, UI_PASSWORD, &answer))
        return answer;
    if ((fault = leave_rooms(call, user_id)) || (fault = close_account(call, user_id, json_get_bool(call->json, "erase", false))))
        return call_fail(call, fault, NULL);
    return reply_raw_json(SLICE("{\"id_server_unbind_result\":\"success\"}"));
}
