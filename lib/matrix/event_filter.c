/* Event filters of clients; see event_filter.h. */
#include "lib/matrix/event_filter.h"

#include "lib/matrix/ids.h"

static bool take_ids(const struct json *json, const char *key, bool (*is_valid)(struct slice id), const struct json **out)
{
    const struct json *value = json_get_cstr(json, key);
    if (!value || json_is(value, JSON_NULL))
        return true;
    if (!json_is(value, JSON_ARRAY))
        return false;
    json_each (item, value)
        if (!json_is(item, JSON_STRING) || (is_valid && !is_valid(item->text)))
            return false;
    *out = value;
    return true;
}

static bool take_strings(const struct json *json, const char *key, const struct json **out)
{
    return take_ids(json, key, NULL, out);
}

static bool take_bool(const struct json *json, const char *key, bool *out, bool *given)
{
    const struct json *value = json_get_cstr(json, key);
    if (!value || json_is(value, JSON_NULL))
        return true;
    if (!json_is(value, JSON_BOOL))
        return false;
    *out = value->boolean;
    if (given)
        *given = true;
    return true;
}

enum fault event_filter_parse(const struct json *json, int64_t limit_default, int64_t limit_max, struct event_filter *out)
{
    struct event_filter filter = {.limit = limit_default};
    if (json && !json_is(json, JSON_OBJECT))
        return FAULT_BAD_JSON;
    const struct json *limit = json_get_cstr(json, "limit");
    if (limit && !json_is(limit, JSON_NULL)) {
        if (!json_is(limit, JSON_INT) || limit->integer < 0)
            return FAULT_BAD_JSON;
        filter.limit = limit->integer < 1 ? 1 : limit->integer > limit_max ? limit_max : limit->integer;
        filter.limit_given = true;
    }
    if (!take_strings(json, "types", &filter.types) || !take_strings(json, "not_types", &filter.not_types) ||
        !take_ids(json, "senders", user_id_is_valid, &filter.senders) ||
        !take_ids(json, "not_senders", user_id_is_valid, &filter.not_senders) ||
        !take_ids(json, "rooms", room_id_is_valid, &filter.rooms) ||
        !take_ids(json, "not_rooms", room_id_is_valid, &filter.not_rooms) ||
        !take_bool(json, "contains_url", &filter.contains_url, &filter.has_contains_url) ||
        !take_bool(json, "lazy_load_members", &filter.lazy_load_members, NULL) ||
        !take_bool(json, "include_redundant_members", &filter.include_redundant_members, NULL) ||
        !take_bool(json, "unread_thread_notifications", &filter.unread_thread_notifications, NULL))
        return FAULT_BAD_JSON;
    if (!take_strings(json, "org.matrix.msc3874.rel_types", &filter.rel_types) ||
        !take_strings(json, "org.matrix.msc3874.not_rel_types", &filter.not_rel_types))
        return FAULT_BAD_JSON;
    *out = filter;
    return FAULT_OK;
}

static bool any_equals(const struct json *list, struct slice text)
{
    json_each (item, list)
        if (slice_eq(item->text, text))
            return true;
    return false;
}

/* '*' alone is a wildcard in event types; '?' is an ordinary character here, unlike in glob_match. */
static bool pattern_matches(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.at[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.len && pattern.at[p] == text.at[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.at[p] == '*')
        p++;
    return p == pattern.len;
}

static bool any_matches(const struct json *list, struct slice text)
{
    json_each (item, list)
        if (pattern_matches(item->text, text))
            return true;
    return false;
}

bool event_filter_allows_type(const struct event_filter *filter, struct slice type)
{
    return !any_matches(filter->not_types, type) && (!filter->types || any_matches(filter->types, type));
}

bool event_filter_allows_room(const struct event_filter *filter, struct slice room_id)
{
    return !any_equals(filter->not_rooms, room_id) && (!filter->rooms || any_equals(filter->rooms, room_id));
}

bool event_filter_allows(const struct event_filter *filter, struct slice type, struct slice sender, const struct json *content)
{
    if (!event_filter_allows_type(filter, type) || any_equals(filter->not_senders, sender) ||
        (filter->senders && !any_equals(filter->senders, sender)))
        return false;
    if (!content)
        return true;
    if (filter->has_contains_url && json_is(json_get_cstr(content, "url"), JSON_STRING) != filter->contains_url)
        return false;
    struct slice rel_type = json_get_string(json_get_object(content, "m.relates_to"), "rel_type");
    return (!filter->rel_types || any_equals(filter->rel_types, rel_type)) && !any_equals(filter->not_rel_types, rel_type);
}
