/* Account data, global and per room (Client-Server API "Client Config"). {} in the table stands for deleted. */
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "workers/accounts/changes.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/push_defaults.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/refuse.h"

enum { TYPE_BYTES_MAX = 255 };

/* False: *answer. room_id: "" for global data. */
static bool check_access(struct call *call, struct slice *room_id, struct reply *answer)
{
    *room_id = call_param(call, "roomId");
    if (!slice_eq(call_param(call, "userId"), call->requester.user_id))
        *answer = call_fail(call, FAULT_FORBIDDEN, "This is another user's account data");
    else if (call_param(call, "type").len > TYPE_BYTES_MAX)
        *answer = call_fail(call, FAULT_INVALID_PARAM, "The type is longer than 255 bytes");
    else if (!slice_is_absent(*room_id) && !room_id_is_valid(*room_id))
        *answer = call_fail(call, FAULT_INVALID_PARAM, "This is not a room id");
    else {
        if (slice_is_absent(*room_id))
            *room_id = SLICE("");
        return true;
    }
    return false;
}

/* Rules are made with the account; one that was imported without has the defaults. */
static struct reply absent_data(struct call *call, struct slice room_id, struct slice type)
{
    if (room_id.len == 0 && slice_eq(type, SLICE("m.push_rules")))
        return reply_raw_json(push_defaults(call->arena, call->requester.user_id));
    return call_fail(call, FAULT_NOT_FOUND, "No account data of this type");
}

static struct reply read_data(struct call *call)
{
    struct slice room_id, type = call_param(call, "type"), user_id = call->requester.user_id;
    struct reply answer;
    struct account_data_find_row row;
    if (!check_access(call, &room_id, &answer))
        return answer;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_account_data_find(batch, user_id, room_id, type);
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    return account_data_find_next(result, &row) ? reply_raw_json(row.content) : absent_data(call, room_id, type);
}

static enum fault store(struct call *call, struct slice user_id, struct slice room_id, struct slice type, struct slice content)
{
    struct account_data_set_row row;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_account_data_set(batch, user_id, room_id, type, content, ACCOUNT_DATA_MAX);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    if (!account_data_set_next(result, &row))
        return FAULT_TOO_LARGE;
    change_publish(call, STREAM_account_data, user_id, row.pos);
    return FAULT_OK;
}

static struct reply write_data(struct call *call)
{
    struct slice room_id, type = call_param(call, "type");
    struct reply answer;
    if (!check_access(call, &room_id, &answer))
        return answer;
    if (slice_eq(type, SLICE("m.fully_read")) || slice_eq(type, SLICE("m.push_rules")))
        return refuse(call, 405, "M_BAD_JSON", "This type has an endpoint of its own");
    enum fault fault = store(call, call->requester.user_id, room_id, type, call->json->count ? call->json->span : SLICE("{}"));
    if (fault == FAULT_TOO_LARGE)
        return call_failf(call, fault, "You have %d entries of account data, no more fit", ACCOUNT_DATA_MAX);
    return fault ? call_fail(call, fault, NULL) : reply_empty();
}

struct reply account_data(struct call *call)
{
    return read_data(call);
}

struct reply set_account_data(struct call *call)
{
    return write_data(call);
}

struct reply room_account_data(struct call *call)
{
    return read_data(call);
}

struct reply set_room_account_data(struct call *call)
{
    return write_data(call);
}
