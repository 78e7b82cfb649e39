/* Who may do what: reads m.room.power_levels with the defaults of its schema, and knows the creators, whose power comes from
 * the create event. A level that cannot be read counts as missing: such events are refused from version 10 on, and in older
 * rooms they must not make every later event unjudgeable. */
#include "lib/matrix/power_levels.h"

enum { DEFAULT_INVITE = 0, DEFAULT_EVENTS = 0, DEFAULT_USERS = 0, DEFAULT_OTHER = 50, CREATOR_WITHOUT_EVENT = 100 };

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* "m.room.power_levels events accept values as strings": blanks around, one sign, any number of leading zeroes. */
static bool level_from_text(struct slice text, int64_t *out)
{
    while (text.len && is_blank(text.at[0]))
        text = slice_sub(text, 1, text.len);
    while (text.len && is_blank(text.at[text.len - 1]))
        text.len--;
    bool negative = text.len && text.at[0] == '-';
    if (text.len && (text.at[0] == '-' || text.at[0] == '+'))
        text = slice_sub(text, 1, text.len);
    if (text.len == 0)
        return false;
    int64_t level = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        int digit = text.at[i] - '0';
        level = level > (INT64_MAX - digit) / 10 ? INT64_MAX : level * 10 + digit;
    }
    *out = negative ? -level : level;
    return true;
}

/* "m.room.power_levels events accept values as floats": truncated at the decimal point. */
static int64_t level_from_real(double real)
{
    const double limit = 9223372036854775808.0; /* 2^63 */
    if (real >= limit)
        return INT64_MAX;
    return real <= -limit ? INT64_MIN : (int64_t)real;
}

bool power_level_value(const struct room_version *version, const struct json *value, int64_t *out)
{
    if (json_is(value, JSON_INT)) {
        *out = value->integer;
        return true;
    }
    if (version->integer_power_levels)
        return false;
    if (json_is(value, JSON_STRING))
        return level_from_text(value->text, out);
    if (!json_is(value, JSON_REAL) || version->strict_canonical_json)
        return false;
    *out = level_from_real(value->real);
    return true;
}

struct power_levels power_levels_from(const struct state_view *state, const struct room_version *version)
{
    const struct event *levels = state->get(state, "m.room.power_levels", SLICE(""));
    return (struct power_levels){
        .content = levels ? levels->content : NULL,
        .version = version,
        .create = state->get(state, "m.room.create", SLICE("")),
    };
}

static int64_t level_or(const struct power_levels *levels, const struct json *value, int64_t otherwise)
{
    power_level_value(levels->version, value, &otherwise);
    return otherwise;
}

static int64_t named_level(const struct power_levels *levels, const char *name, int64_t otherwise)
{
    return level_or(levels, json_get_cstr(levels->content, name), otherwise);
}

int64_t power_of_user(const struct power_levels *levels, struct slice user_id)
{
    bool is_creator = user_is_creator(levels->create, user_id);
    if (is_creator && levels->version->privileged_creators)
        return POWER_INFINITE;
    if (!levels->content)
        return is_creator ? CREATOR_WITHOUT_EVENT : DEFAULT_USERS;
    int64_t own;
    if (power_level_value(levels->version, json_get(json_get_object(levels->content, "users"), user_id), &own))
        return own;
    return named_level(levels, "users_default", DEFAULT_USERS);
}

int64_t power_to_send(const struct power_levels *levels, struct slice type, bool is_state)
{
    int64_t own;
    if (power_level_value(levels->version, json_get(json_get_object(levels->content, "events"), type), &own))
        return own;
    return is_state ? named_level(levels, "state_default", DEFAULT_OTHER) : named_level(levels, "events_default", DEFAULT_EVENTS);
}

int64_t power_to(const struct power_levels *levels, const char *action)
{
    bool is_invite = strcmp(action, "invite") == 0;
    return named_level(levels, action, is_invite ? DEFAULT_INVITE : DEFAULT_OTHER);
}

int64_t power_to_notify(const struct power_levels *levels, const char *what)
{
    return level_or(levels, json_get_cstr(json_get_object(levels->content, "notifications"), what), DEFAULT_OTHER);
}

/* Version 12: "Room creators include" the sender of the create event and content.additional_creators. Version 11: its sender.
 * Before: content.creator. */
bool user_is_creator(const struct event *create, struct slice user_id)
{
    if (!create)
        return false;
    if (!create->version->implicit_room_creator) {
        struct slice creator = json_get_string(create->content, "creator");
        return !slice_is_absent(creator) && slice_eq(creator, user_id);
    }
    if (slice_eq(create->sender, user_id))
        return true;
    if (!create->version->privileged_creators)
        return false;
    json_each (additional, json_get_array(create->content, "additional_creators"))
        if (json_is(additional, JSON_STRING) && slice_eq(additional->text, user_id))
            return true;
    return false;
}
