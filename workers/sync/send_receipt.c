/* POST …/receipt/{receiptType}/{eventId} and POST …/read_markers (Client-Server API "Receipts", "Fully read markers"). */
#include "lib/base/clock.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"
#include "workers/sync/edus.h"
#include "workers/sync/receipts.h"

static struct slice receipt_data(struct call *call, struct slice thread_id)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    if (thread_id.len)
        json_put_string(&w, "thread_id", thread_id);
    json_put_i64(&w, "ts", clock_wall_ms());
    json_end_object(&w);
    return json_done(&w);
}

/* {room: {"m.read": {user: {"event_ids": […], "data": {…}}}}}: public ones only leave the server. */
static void send_edu(struct call *call, int64_t room_nid, const struct receipt *receipt)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_key(&w, receipt->room_id);
    json_begin_object(&w);
    json_put_object(&w, "m.read");
    json_key(&w, receipt->user_id);
    json_begin_object(&w);
    json_put_array(&w, "event_ids");
    json_add_string(&w, receipt->event_id);
    json_end_array(&w);
    json_put_raw(&w, "data", receipt->data);
    json_end_object(&w);
    json_end_object(&w);
    json_end_object(&w);
    json_end_object(&w);
    edus_to_room(call, room_nid, SLICE("m.receipt"),
                 arena_printf(call->arena, "%.*s %.*s %.*s", PRI(receipt->room_id), PRI(receipt->user_id), PRI(receipt->thread_id)),
                 json_done(&w));
}

static enum fault set_fully_read(struct call *call, struct slice room_id, struct slice event_id)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "event_id", event_id);
    json_end_object(&w);
    struct account_data_set_request request = {
        .user_id = call->requester.user_id, .room_id = room_id, .type = SLICE("m.fully_read"), .content = json_done(&w)};
    struct account_data_set_reply reply;
    return call_account_data_set(call, request.user_id, &request, &reply);
}

static struct reply store(struct call *call, const struct receipt *receipts, size_t count, struct slice fully_read)
{
    struct slice room_id = call_param(call, "roomId");
    int64_t room_nid;
    enum fault fault = room_joined(call, room_id, &room_nid);
    if (fault)
        return call_fail(call, fault, fault == FAULT_FORBIDDEN ? "You are not in this room" : NULL);
    if ((fault = receipts_store(call, receipts, count)))
        return call_fail(call, fault, NULL);
    for (size_t i = 0; i < count; i++)
        if (slice_eq(receipts[i].type, SLICE("m.read")))
            send_edu(call, room_nid, &receipts[i]);
    if (!slice_is_absent(fully_read) && (fault = set_fully_read(call, room_id, fully_read)))
        return call_fail(call, fault, NULL);
    return reply_empty();
}

static struct receipt receipt_of(struct call *call, struct slice type, struct slice event_id, struct slice thread_id)
{
    return (struct receipt){.room_id = call_param(call, "roomId"),
                            .user_id = call->requester.user_id,
                            .type = type,
                            .thread_id = thread_id,
                            .event_id = event_id,
                            .data = receipt_data(call, thread_id)};
}

struct reply send_receipt(struct call *call)
{
    struct slice type = call_param(call, "receiptType"), event_id = call_param(call, "eventId");
    const struct json *thread = json_get_cstr(call->json, "thread_id");
    struct slice thread_id = thread ? json_string(thread) : SLICE("");
    if (!event_id_is_valid(event_id))
        return call_fail(call, FAULT_INVALID_PARAM, "This is not an event id");
    if (slice_eq(type, SLICE("m.fully_read"))) {
        if (thread)
            return call_fail(call, FAULT_INVALID_PARAM, "m.fully_read is not of a thread");
        return store(call, NULL, 0, event_id);
    }
    if (!slice_eq(type, SLICE("m.read")) && !slice_eq(type, SLICE("m.read.private")))
        return call_fail(call, FAULT_INVALID_PARAM, "Unknown type of receipt");
    if (thread && (thread_id.len == 0 || thread_id.len > 255 || slice_has_nul(thread_id)))
        return call_fail(call, FAULT_INVALID_PARAM, "thread_id must be main or an event id");
    struct receipt receipt = receipt_of(call, type, event_id, thread_id);
    return store(call, &receipt, 1, SLICE_ABSENT);
}

struct reply set_read_markers(struct call *call)
{
    static const char *const types[] = {"m.read", "m.read.private", "m.fully_read"};
    struct receipt receipts[2];
    struct slice fully_read = SLICE_ABSENT;
    size_t count = 0;
    for (size_t i = 0; i < 3; i++) {
        const struct json *value = json_get_cstr(call->json, types[i]);
        if (!value || json_is(value, JSON_NULL))
            continue;
        if (!json_is(value, JSON_STRING) || !event_id_is_valid(value->text) || slice_has_nul(value->text))
            return call_failf(call, FAULT_INVALID_PARAM, "%s must be an event id", types[i]);
        if (i == 2)
            fully_read = value->text;
        else
            receipts[count++] = receipt_of(call, slice_from_cstr(types[i]), value->text, SLICE(""));
    }
    return store(call, receipts, count, fully_read);
}
