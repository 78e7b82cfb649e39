/* Profiles in rooms; see profile_spread.h. Eight rooms at a time: each has its lane in some events process. */
#include "workers/accounts/profile_spread.h"

#include "lib/base/log.h"
#include "proto/stubs.h"
#include "workers/accounts/queries.h"

enum { AT_ONCE = 8 };

struct spread {
    struct call *call;
    struct slice user_id;
    const struct json *displayname, *avatar_url; /* NULL: not set */
};

static bool same(const struct json *a, const struct json *b)
{
    return slice_eq(json_string(a), json_string(b)) && slice_is_absent(json_string(a)) == slice_is_absent(json_string(b));
}

/* The member event's content with the new profile. Absent: it says so already. */
static struct slice new_content(const struct spread *spread, struct slice event_json)
{
    const struct json *content = json_get_object(json_parse(spread->call->arena, event_json, JSON_LAX, NULL), "content");
    if (!content || (same(json_get_cstr(content, "displayname"), spread->displayname) &&
                     same(json_get_cstr(content, "avatar_url"), spread->avatar_url)))
        return SLICE_ABSENT;
    struct json_writer w = json_writer_in(spread->call->arena);
    json_begin_object(&w);
    json_each (member, content) {
        if (slice_eq(member->key, SLICE("displayname")) || slice_eq(member->key, SLICE("avatar_url")) ||
            slice_eq(member->key, SLICE("join_authorised_via_users_server")))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_put_string(&w, "displayname", json_string(spread->displayname));
    json_put_string(&w, "avatar_url", json_string(spread->avatar_url));
    json_end_object(&w);
    return json_done(&w);
}

static struct bus_ticket *send_one(const struct spread *spread, struct slice room_id, struct slice content)
{
    const struct slice type = SLICE("m.room.member");
    struct room_append_request request = {.room_id = room_id,
                                          .types = {&type, 1},
                                          .state_keys = {&spread->user_id, 1},
                                          .senders = {&spread->user_id, 1},
                                          .contents = {&content, 1}};
    return call_room_append_send(spread->call, room_id, &request);
}

static enum fault collect(struct call *call, struct bus_ticket **tickets, size_t count)
{
    enum fault worst = FAULT_OK;
    for (size_t i = 0; i < count; i++) {
        struct room_append_reply reply;
        enum fault fault = call_bus_wait(call, tickets[i], &reply);
        if (fault == FAULT_UNAVAILABLE || fault == FAULT_DEADLINE || fault == FAULT_CONFLICT)
            worst = fault;
        else if (fault)
            log_event(LOG_DEBUG, "a room did not take the profile", LOG_CSTR("fault", fault_facts(fault)->name));
    }
    return worst;
}

static void load_profile(struct spread *spread, struct db_result *result)
{
    struct profile_of_row row;
    while (profile_of_next(result, &row)) {
        if (slice_is_absent(row.field))
            continue;
        const struct json *value = json_parse(spread->call->arena, row.value, JSON_LAX, NULL);
        if (slice_eq(row.field, SLICE("displayname")))
            spread->displayname = value;
        else if (slice_eq(row.field, SLICE("avatar_url")))
            spread->avatar_url = value;
    }
}

enum fault profile_spread(struct call *call, struct slice user_id)
{
    struct spread spread = {.call = call, .user_id = user_id};
    struct bus_ticket *tickets[AT_ONCE];
    size_t count = 0;
    struct db_batch *batch = call_batch(call);
    struct db_result *profile = q_profile_of(batch, user_id), *rooms = q_member_events_of(batch, user_id);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    load_profile(&spread, profile);
    struct member_events_of_row row;
    while (!fault && member_events_of_next(rooms, &row)) {
        struct slice content = new_content(&spread, row.json);
        if (slice_is_absent(content))
            continue;
        tickets[count++] = send_one(&spread, row.room_id, content);
        if (count < AT_ONCE)
            continue;
        fault = collect(call, tickets, count);
        count = 0;
    }
    enum fault last = collect(call, tickets, count);
    return fault ? fault : last;
}
