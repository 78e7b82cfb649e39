/* Looking things up in a parsed tree. Nothing here fails: what is not there, or is of another type, is not found. An object
 * is searched from its front; who needs most of a large object walks it with json_each instead. */
#include "lib/base/json.h"

const struct json *json_get(const struct json *object, struct slice key)
{
    if (!json_is(object, JSON_OBJECT))
        return NULL;
    json_each (member, object)
        if (slice_eq(member->key, key))
            return member;
    return NULL;
}

const struct json *json_get_cstr(const struct json *object, const char *key)
{
    return json_get(object, slice_from_cstr(key));
}

const struct json *json_path(const struct json *object, const char *dotted)
{
    struct slice rest = slice_from_cstr(dotted), key;
    while (object && slice_cut(rest, '.', &key, &rest))
        object = json_get(object, key);
    return json_get(object, rest);
}

struct slice json_string(const struct json *value)
{
    return json_is(value, JSON_STRING) ? value->text : SLICE_ABSENT;
}

struct slice json_get_string(const struct json *object, const char *key)
{
    return json_string(json_get_cstr(object, key));
}

bool json_get_i64(const struct json *object, const char *key, int64_t *out)
{
    const struct json *value = json_get_cstr(object, key);
    if (!json_is(value, JSON_INT))
        return false;
    *out = value->integer;
    return true;
}

bool json_get_bool(const struct json *object, const char *key, bool otherwise)
{
    const struct json *value = json_get_cstr(object, key);
    return json_is(value, JSON_BOOL) ? value->boolean : otherwise;
}

const struct json *json_get_object(const struct json *object, const char *key)
{
    const struct json *value = json_get_cstr(object, key);
    return json_is(value, JSON_OBJECT) ? value : NULL;
}

const struct json *json_get_array(const struct json *object, const char *key)
{
    const struct json *value = json_get_cstr(object, key);
    return json_is(value, JSON_ARRAY) ? value : NULL;
}
