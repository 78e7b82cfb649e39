/* Profile fields; see profile_fields.h. */
#include "workers/accounts/profile_fields.h"

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* Appendix "Common Namespaced Identifier Grammar": starts with a letter, then letters, digits, '_', '-' and '.', with at least one
 * dot here. */
static bool is_namespaced(struct slice name)
{
    bool dot = false;
    if (!name.len || name.at[0] < 'a' || name.at[0] > 'z' || name.at[name.len - 1] == '.')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.at[i] == '.' && name.at[i - 1] != '.')
            dot = true;
        else if (!is_word_byte(name.at[i]))
            return false;
    }
    return dot;
}

bool profile_field_is_in_rooms(struct slice name)
{
    return slice_eq(name, SLICE("displayname")) || slice_eq(name, SLICE("avatar_url"));
}

bool profile_field_is_valid(struct slice name)
{
    return profile_field_is_in_rooms(name) || is_namespaced(name);
}

bool displayname_is_acceptable(struct slice name)
{
    return slice_is_absent(name) || (name.len <= DISPLAYNAME_BYTES_MAX && !slice_has_nul(name) && utf8_is_valid(name));
}

const char *profile_value_problem(struct slice name, const struct json *value)
{
    if (slice_eq(name, SLICE("displayname"))) {
        if (!json_is(value, JSON_STRING) && !json_is(value, JSON_NULL))
            return "displayname must be a string";
        return displayname_is_acceptable(json_string(value)) ? NULL : "displayname is too long or has a NUL";
    }
    if (slice_eq(name, SLICE("avatar_url"))) {
        if (!json_is(value, JSON_STRING) && !json_is(value, JSON_NULL))
            return "avatar_url must be a string";
        struct slice url = json_string(value);
        if (slice_is_absent(url) || url.len == 0)
            return NULL;
        bool fine = url.len <= AVATAR_URL_BYTES_MAX && !slice_has_nul(url);
        return fine ? NULL : "avatar_url is too long";
    }
    if (slice_eq(name, SLICE("m.tz")) && !json_is(value, JSON_STRING))
        return "m.tz must be a string";
    return NULL;
}
