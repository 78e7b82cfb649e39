/* Shapes of filters; see filter_check.h. */
#include "workers/accounts/filter_check.h"

#include "lib/matrix/event_filter.h"

static bool is_absent(const struct json *value)
{
    return !value || json_is(value, JSON_NULL);
}

static bool are_strings(const struct json *value)
{
    if (is_absent(value))
        return true;
    json_each (item, value)
        if (!json_is(item, JSON_STRING))
            return false;
    return json_is(value, JSON_ARRAY);
}

static bool is_event_filter(const struct json *value)
{
    struct event_filter parsed;
    return is_absent(value) || event_filter_parse(value, 10, 1000, &parsed) == FAULT_OK;
}

static const char *room_problem(const struct json *room)
{
    const struct json *include_leave = json_get_cstr(room, "include_leave");
    if (is_absent(room))
        return NULL;
    if (!json_is(room, JSON_OBJECT))
        return "room must be an object";
    if (!are_strings(json_get_cstr(room, "rooms")) || !are_strings(json_get_cstr(room, "not_rooms")))
        return "rooms and not_rooms must be lists of room ids";
    if (!is_absent(include_leave) && !json_is(include_leave, JSON_BOOL))
        return "include_leave must be true or false";
    if (!is_event_filter(json_get_cstr(room, "ephemeral")))
        return "room.ephemeral is not an event filter";
    if (!is_event_filter(json_get_cstr(room, "state")))
        return "room.state is not an event filter";
    if (!is_event_filter(json_get_cstr(room, "timeline")))
        return "room.timeline is not an event filter";
    return is_event_filter(json_get_cstr(room, "account_data")) ? NULL : "room.account_data is not an event filter";
}

const char *filter_problem(const struct json *filter)
{
    const struct json *format = json_get_cstr(filter, "event_format");
    if (!are_strings(json_get_cstr(filter, "event_fields")))
        return "event_fields must be a list of names";
    if (!is_absent(format) && !slice_eq(json_string(format), SLICE("client")) &&
        !slice_eq(json_string(format), SLICE("federation")))
        return "event_format must be client or federation";
    if (!is_event_filter(json_get_cstr(filter, "presence")))
        return "presence is not an event filter";
    if (!is_event_filter(json_get_cstr(filter, "account_data")))
        return "account_data is not an event filter";
    return room_problem(json_get_cstr(filter, "room"));
}
