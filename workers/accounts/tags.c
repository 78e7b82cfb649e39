/* Room tags (Client-Server API "Room Tagging"): the room's account data of type m.tag, changed one tag at a time. */
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "workers/accounts/changes.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/queries.h"

enum { TAG_BYTES_MAX = 255, TAGS_MAX = 1000 };
#define TAG_TYPE SLICE("m.tag")

static bool check_access(struct call *call, struct reply *answer)
{
    if (!slice_eq(call_param(call, "userId"), call->requester.user_id))
        *answer = call_fail(call, FAULT_FORBIDDEN, "These are another user's tags");
    else if (!room_id_is_valid(call_param(call, "roomId")))
        *answer = call_fail(call, FAULT_INVALID_PARAM, "This is not a room id");
    else if (call_param(call, "tag").len > TAG_BYTES_MAX)
        *answer = call_fail(call, FAULT_INVALID_PARAM, "The tag is longer than 255 bytes");
    else
        return true;
    return false;
}

struct reply room_tags(struct call *call)
{
    struct reply answer;
    struct account_data_find_row row;
    if (!check_access(call, &answer))
        return answer;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_account_data_find(batch, call->requester.user_id, call_param(call, "roomId"), TAG_TYPE);
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    const struct json *tags = NULL;
    if (account_data_find_next(result, &row))
        tags = json_get_object(json_parse(call->arena, row.content, JSON_LAX, NULL), "tags");
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_raw(&w, "tags", tags ? tags->span : SLICE("{}"));
    json_end_object(&w);
    return reply_json(&w);
}

/* {"tags":{…}} with the tag set to `value`, or without it when that is absent. Whatever else the content has stays. */
static struct slice with_tag(struct call *call, const struct json *content, struct slice tag, struct slice value)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_each (member, content) {
        if (slice_eq(member->key, SLICE("tags")))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_put_object(&w, "tags");
    json_each (member, json_get_object(content, "tags")) {
        if (slice_eq(member->key, tag))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    if (!slice_is_absent(value)) {
        json_key(&w, tag);
        json_add_raw(&w, value);
    }
    json_end_object(&w);
    json_end_object(&w);
    return json_done(&w);
}

static struct reply change_tag(struct call *call, struct slice value)
{
    struct slice user_id = call->requester.user_id, room_id = call_param(call, "roomId"), tag = call_param(call, "tag");
    struct account_data_find_row found;
    struct account_data_set_row set;
    struct db_batch *transaction = call_transaction(call);
    q_account_data_lock(transaction, user_id);
    struct db_result *result = q_account_data_find(transaction, user_id, room_id, TAG_TYPE);
    enum fault fault = db_step(transaction);
    if (fault)
        return call_fail(call, fault, NULL);
    const struct json *content =
        account_data_find_next(result, &found) ? json_parse(call->arena, found.content, JSON_LAX, NULL) : NULL;
    const struct json *tags = json_get_object(content, "tags");
    if (!slice_is_absent(value) && tags && tags->count >= TAGS_MAX && !json_get(tags, tag)) {
        db_rollback(transaction);
        return call_fail(call, FAULT_TOO_LARGE, "The room has too many tags");
    }
    result = q_account_data_set(transaction, user_id, room_id, TAG_TYPE, with_tag(call, content, tag, value), ACCOUNT_DATA_MAX);
    if ((fault = db_commit(transaction)))
        return call_fail(call, fault, NULL);
    if (!account_data_set_next(result, &set))
        return call_failf(call, FAULT_TOO_LARGE, "You have %d entries of account data, no more fit", ACCOUNT_DATA_MAX);
    change_publish(call, STREAM_account_data, user_id, set.pos);
    return reply_empty();
}

struct reply set_room_tag(struct call *call)
{
    struct reply answer;
    const struct json *order = json_get_cstr(call->json, "order");
    if (!check_access(call, &answer))
        return answer;
    if (order && !json_is(order, JSON_INT) && !json_is(order, JSON_REAL))
        return call_fail(call, FAULT_BAD_JSON, "order must be a number");
    return change_tag(call, call->json->span);
}

struct reply delete_room_tag(struct call *call)
{
    struct reply answer;
    return check_access(call, &answer) ? change_tag(call, SLICE_ABSENT) : answer;
}
