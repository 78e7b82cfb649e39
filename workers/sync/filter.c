/* Filters of /sync; see filter.h. */
#include "workers/sync/filter.h"

enum { TIMELINE_DEFAULT = 10, TIMELINE_MAX = 1000, OTHERS_MAX = 1000000 };

static enum fault parse_part(const struct json *of, const char *key, int64_t limit, int64_t limit_max, struct event_filter *out)
{
    const struct json *part = json_get_cstr(of, key);
    return event_filter_parse(json_is(part, JSON_NULL) ? NULL : part, limit, limit_max, out);
}

static bool is_strings(const struct json *value)
{
    json_each (item, value)
        if (!json_is(item, JSON_STRING))
            return false;
    return json_is(value, JSON_ARRAY);
}

enum fault sync_filter_parse(const struct json *json, struct sync_filter *out)
{
    struct sync_filter filter = {0};
    const struct json *room = json_get_cstr(json, "room"), *fields = json_get_cstr(json, "event_fields");
    enum fault fault;
    if ((json && !json_is(json, JSON_OBJECT)) || (room && !json_is(room, JSON_OBJECT)) || (fields && !is_strings(fields)))
        return FAULT_BAD_JSON;
    if ((fault = parse_part(room, "timeline", TIMELINE_DEFAULT, TIMELINE_MAX, &filter.timeline)) ||
        (fault = parse_part(room, "state", OTHERS_MAX, OTHERS_MAX, &filter.state)) ||
        (fault = parse_part(room, "ephemeral", OTHERS_MAX, OTHERS_MAX, &filter.ephemeral)) ||
        (fault = parse_part(room, "account_data", OTHERS_MAX, OTHERS_MAX, &filter.room_account_data)) ||
        (fault = parse_part(json, "account_data", OTHERS_MAX, OTHERS_MAX, &filter.account_data)) ||
        (fault = parse_part(json, "presence", OTHERS_MAX, OTHERS_MAX, &filter.presence)) ||
        (fault = event_filter_parse(room, OTHERS_MAX, OTHERS_MAX, &filter.rooms)))
        return fault;
    int64_t limit;
    filter.timeline_empty = json_get_i64(json_get_object(room, "timeline"), "limit", &limit) && limit == 0;
    filter.include_leave = json_get_bool(room, "include_leave", false);
    filter.federation_format = slice_eq(json_get_string(json, "event_format"), SLICE("federation"));
    filter.event_fields = fields;
    *out = filter;
    return FAULT_OK;
}

struct slices sync_filter_texts(struct arena *arena, const struct json *texts)
{
    if (!texts)
        return (struct slices){NULL, 0};
    struct slice *all = arena_new_array(arena, texts->count, struct slice);
    size_t count = 0;
    json_each (text, texts)
        if (!slice_has_nul(text->text))
            all[count++] = text->text;
    return (struct slices){all, count};
}

static struct slice like_pattern(struct arena *arena, struct slice pattern)
{
    struct strbuf out = strbuf_in(arena);
    strbuf_reserve(&out, pattern.len * 2 + 1);
    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.at[i];
        if (c == '%' || c == '_' || c == '\\')
            strbuf_add_char(&out, '\\');
        strbuf_add_char(&out, c == '*' ? '%' : c);
    }
    return strbuf_slice(&out);
}

struct slices sync_filter_patterns(struct arena *arena, const struct json *patterns)
{
    struct slices texts = sync_filter_texts(arena, patterns);
    struct slice *all = arena_new_array(arena, texts.len, struct slice);
    for (size_t i = 0; i < texts.len; i++)
        all[i] = like_pattern(arena, texts.at[i]);
    return (struct slices){patterns ? all : NULL, texts.len};
}

/* ---- event_fields: "content.body" names a member inside; a backslash takes a dot's meaning away */

static bool next_part(struct arena *arena, struct slice *path, struct slice *part)
{
    if (slice_is_absent(*path))
        return false;
    size_t i = 0;
    if (!memchr(path->at, '\\', path->len)) { /* nearly always: nothing to copy */
        struct slice whole = *path;
        if (!slice_cut(whole, '.', part, path))
            *part = whole, *path = SLICE_ABSENT;
        return true;
    }
    struct strbuf out = strbuf_in(arena);
    strbuf_reserve(&out, path->len + 1);
    for (; i < path->len && path->at[i] != '.'; i++) {
        if (path->at[i] == '\\' && i + 1 < path->len && (path->at[i + 1] == '.' || path->at[i + 1] == '\\'))
            i++;
        strbuf_add_char(&out, path->at[i]);
    }
    *part = strbuf_slice(&out);
    *path = i < path->len ? slice_sub(*path, i + 1, path->len) : SLICE_ABSENT;
    return true;
}

/* Does a field take this member whole (1), a part of it (2), or nothing of it (0)? place: keys from the top. */
static int taken(struct arena *arena, const struct json *fields, const struct slice *place, size_t depth)
{
    int answer = 0;
    json_each (field, fields) {
        struct slice path = field->text, part;
        size_t level = 0;
        while (level < depth && next_part(arena, &path, &part) && slice_eq(part, place[level]))
            level++;
        if (level == depth && slice_is_absent(path))
            return 1;
        if (level == depth)
            answer = 2;
    }
    return answer;
}

static void cut_down(struct json_writer *w, struct arena *arena, const struct json *fields, const struct json *object,
                     struct slice *place, size_t depth)
{
    json_begin_object(w);
    json_each (member, object) {
        place[depth] = member->key;
        int how = taken(arena, fields, place, depth + 1);
        if (how == 0 || (how == 2 && !json_is(member, JSON_OBJECT)))
            continue;
        json_key(w, member->key);
        if (how == 1)
            json_add_value(w, member);
        else
            cut_down(w, arena, fields, member, place, depth + 1);
    }
    json_end_object(w);
}

void sync_filter_fields(struct json_writer *w, struct arena *arena, const struct json *fields, struct slice event)
{
    struct slice place[JSON_DEPTH_MAX + 1];
    cut_down(w, arena, fields, json_parse(arena, event, JSON_LAX, NULL), place, 0);
}
