/* Invites that are taken back; see withdrawn.h. */
#include "workers/federation/withdrawn.h"

#include "lib/matrix/ids.h"
#include "proto/stubs.h"

enum fault is_withdrawal(struct call *call, const struct room_facts *room, const struct json *json, bool *is)
{
    struct slice user_id = json_get_string(json, "state_key"), sender = json_get_string(json, "sender");
    struct slice membership = json_get_string(json_get_object(json, "content"), "membership");
    struct membership_row standing;
    struct event_rows rows;
    *is = false;
    if (!slice_eq(json_get_string(json, "type"), SLICE("m.room.member")) || !user_id_is_valid(user_id) ||
        !slice_eq(id_server_name(user_id), server_name()) ||
        !(slice_eq(membership, SLICE("leave")) || slice_eq(membership, SLICE("ban"))))
        return FAULT_OK;
    enum fault fault = membership_find(call, room->room_nid, user_id, &standing);
    if (fault)
        return fault == FAULT_NOT_FOUND ? FAULT_OK : fault;
    if (slice_eq(standing.membership, SLICE("knock"))) { /* anyone of that room may refuse a knock */
        *is = true;
        return FAULT_OK;
    }
    if (!slice_eq(standing.membership, SLICE("invite")))
        return FAULT_OK;
    if ((fault = event_rows_by_nid(call, (struct i64s){&standing.event_nid, 1}, &rows)))
        return fault;
    *is = rows.count && slice_eq(rows.at[0].sender, sender);
    return FAULT_OK;
}

enum fault accept_withdrawal(struct call *call, const struct room_facts *room, const struct event *event)
{
    struct room_outlier_membership_request request = {
        .room_id = room->room_id, .room_version = room->room_version, .event = event->raw, .user_id = event->state_key};
    struct room_outlier_membership_reply reply;
    return call_room_outlier_membership(call, room->room_id, &request, &reply);
}
