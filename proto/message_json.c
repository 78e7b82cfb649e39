/* Messages as JSON, for people: the control tool sends and shows any message by its field names, fuzzers and tests make messages
 * from readable text. Bytes that are not UTF-8 are shown as {"base64": "…"}. A raw field may be given as JSON itself or as a
 * string. */
#include "lib/base/base64.h"
#include "lib/base/json.h"
#include "proto/message_fields.h"

/* ---- to JSON */

static void add_slice(struct json_writer *w, struct slice bytes)
{
    if (slice_is_absent(bytes)) {
        json_add_null(w);
    } else if (utf8_is_valid(bytes)) {
        json_add_string(w, bytes);
    } else {
        json_begin_object(w);
        json_put_string(w, "base64", base64_encode(w->out.arena, bytes));
        json_end_object(w);
    }
}

static void add_slices(struct json_writer *w, struct slices all)
{
    if (!all.at) {
        json_add_null(w);
        return;
    }
    json_begin_array(w);
    for (size_t i = 0; i < all.len; i++)
        add_slice(w, all.at[i]);
    json_end_array(w);
}

static void add_i64s(struct json_writer *w, struct i64s all)
{
    if (!all.at) {
        json_add_null(w);
        return;
    }
    json_begin_array(w);
    for (size_t i = 0; i < all.len; i++)
        json_add_i64(w, all.at[i]);
    json_end_array(w);
}

struct slice message_to_json(struct arena *arena, const struct message_facts *facts, bool reply, const struct packed *in)
{
    const struct message_field *field = message_fields(facts, reply);
    char *object = arena_alloc(arena, reply ? facts->reply_size : facts->request_size);
    if (!message_unpack(arena, field, in, object))
        return SLICE_ABSENT;
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    for (; field->type; field++) {
        const void *value = object + field->offset;
        json_key_cstr(&w, field->name);
        switch (field->type) {
        case FIELD_I64:
            json_add_i64(&w, *(const int64_t *)value);
            break;
        case FIELD_BOOL:
            json_add_bool(&w, *(const bool *)value);
            break;
        case FIELD_SLICE:
        case FIELD_RAW:
            add_slice(&w, *(const struct slice *)value);
            break;
        case FIELD_SLICES:
        case FIELD_RAWS:
            add_slices(&w, *(const struct slices *)value);
            break;
        case FIELD_I64S:
            add_i64s(&w, *(const struct i64s *)value);
            break;
        case FIELD_END:
            break;
        }
    }
    json_end_object(&w);
    return json_done(&w);
}

/* ---- from JSON. False: a value of the wrong type. */

static bool take_slice(struct arena *arena, const struct json *json, bool raw, struct slice *out)
{
    struct slice encoded = json_get_string(json, "base64");
    if (json_is(json, JSON_NULL))
        *out = SLICE_ABSENT;
    else if (json_is(json, JSON_STRING))
        *out = json->text.at ? json->text : SLICE("");
    else if (!slice_is_absent(encoded) && json->count == 1)
        *out = base64_decode(arena, encoded);
    else if (raw)
        *out = json->span;
    else
        return false;
    return json_is(json, JSON_NULL) || !slice_is_absent(*out);
}

static bool take_slices(struct arena *arena, const struct json *json, bool raw, struct slices *out)
{
    if (json_is(json, JSON_NULL)) {
        *out = (struct slices){0};
        return true;
    }
    if (!json_is(json, JSON_ARRAY))
        return false;
    struct slice *at = arena_new_array(arena, json->count, struct slice);
    size_t count = 0;
    json_each (item, json) {
        if (!take_slice(arena, item, raw, &at[count++]))
            return false;
    }
    *out = (struct slices){at, count};
    return true;
}

static bool take_i64s(struct arena *arena, const struct json *json, struct i64s *out)
{
    if (json_is(json, JSON_NULL)) {
        *out = (struct i64s){0};
        return true;
    }
    if (!json_is(json, JSON_ARRAY))
        return false;
    int64_t *at = arena_new_array(arena, json->count, int64_t);
    size_t count = 0;
    json_each (item, json) {
        if (!json_is(item, JSON_INT))
            return false;
        at[count++] = item->integer;
    }
    *out = (struct i64s){at, count};
    return true;
}

static bool take_field(struct arena *arena, const struct json *json, const struct message_field *field, void *value)
{
    switch (field->type) {
    case FIELD_I64:
        if (json_is(json, JSON_INT))
            *(int64_t *)value = json->integer;
        return json_is(json, JSON_INT);
    case FIELD_BOOL:
        if (json_is(json, JSON_BOOL))
            *(bool *)value = json->boolean;
        return json_is(json, JSON_BOOL);
    case FIELD_SLICE:
    case FIELD_RAW:
        return take_slice(arena, json, field->type == FIELD_RAW, value);
    case FIELD_SLICES:
    case FIELD_RAWS:
        return take_slices(arena, json, field->type == FIELD_RAWS, value);
    case FIELD_I64S:
        return take_i64s(arena, json, value);
    case FIELD_END:
        break;
    }
    return false;
}

enum fault message_from_json(struct arena *arena, const struct message_facts *facts, bool reply, struct slice json,
                             struct packed *out)
{
    const struct message_field *fields = message_fields(facts, reply);
    const struct json *given = json_parse(arena, json, JSON_LAX, NULL);
    if (!given)
        return FAULT_NOT_JSON;
    if (!json_is(given, JSON_OBJECT))
        return FAULT_BAD_JSON;
    char *object = arena_alloc(arena, reply ? facts->reply_size : facts->request_size);
    size_t known = 0;
    for (const struct message_field *field = fields; field->type; field++) {
        const struct json *value = json_get_cstr(given, field->name);
        if (!value)
            continue;
        known++;
        if (!take_field(arena, value, field, object + field->offset))
            return FAULT_BAD_JSON;
    }
    if (known != given->count)
        return FAULT_BAD_JSON; /* a key that is no field: most likely a slip of the pen */
    message_pack(arena, fields, object, out);
    return FAULT_OK;
}
