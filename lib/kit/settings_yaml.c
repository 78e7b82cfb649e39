/* From YAML to a flat list of keys and values, each with its line: maps inside maps are joined with dots, sequences of scalars with
 * commas. libyaml's event interface is used instead of its documents because it bounds nothing itself: we refuse aliases (no
 * "billion laughs"), tags, deep nesting and second documents, and a configuration needs none of them. */
#include "lib/kit/settings_internal.h"

#include "lib/base/strbuf.h"

#include <yaml.h>

enum { NESTING_MAX = 8, KEY_MAX = 200 };

struct reader {
    struct arena *arena;
    yaml_parser_t parser;
    struct setting_entry **tail;
    const char **error;
};

static bool fail_at(struct reader *reader, size_t line, const char *why)
{
    *reader->error = arena_printf(reader->arena, "%zu: %s", line + 1, why).at;
    return false;
}

static bool next_event(struct reader *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    const char *why = reader->parser.problem ? reader->parser.problem : "is not YAML";
    size_t line = reader->parser.problem_mark.line ? reader->parser.problem_mark.line : reader->parser.context_mark.line;
    return fail_at(reader, line, why);
}

static bool is_null(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return plain && (!text[0] || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

/* The scalar's text; NULL when it cannot be held as one (a NUL inside). */
static const char *scalar_text(struct reader *reader, const yaml_event_t *event)
{
    struct slice text = slice_of(event->data.scalar.value, event->data.scalar.length);
    return slice_has_nul(text) ? NULL : arena_cstr(reader->arena, text);
}

static struct setting_entry *add_entry(struct reader *reader, const char *key, size_t line)
{
    struct setting_entry *entry = arena_new(reader->arena, struct setting_entry);
    *entry = (struct setting_entry){.key = key, .value = "", .line = (int)line + 1};
    *reader->tail = entry;
    reader->tail = &entry->next;
    return entry;
}

/* After "[": scalars up to "]". */
static bool read_sequence(struct reader *reader, const char *key, size_t line)
{
    struct strbuf joined = strbuf_in(reader->arena);
    for (;;) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            return false;
        yaml_event_type_t type = event.type;
        size_t at = event.start_mark.line;
        const char *text = type == YAML_SCALAR_EVENT ? scalar_text(reader, &event) : NULL;
        yaml_event_delete(&event);
        if (type == YAML_SEQUENCE_END_EVENT)
            break;
        if (!text)
            return fail_at(reader, at, arena_printf(reader->arena, "%s: a list holds plain values only", key).at);
        if (joined.len)
            strbuf_add_char(&joined, ',');
        strbuf_add_cstr(&joined, text);
    }
    struct setting_entry *entry = add_entry(reader, key, line);
    entry->list = true;
    entry->value = arena_cstr(reader->arena, strbuf_slice(&joined));
    return true;
}

static bool read_mapping(struct reader *reader, const char *prefix, int depth);

static bool read_value(struct reader *reader, const char *key, int depth)
{
    yaml_event_t event;
    if (!next_event(reader, &event))
        return false;
    size_t line = event.start_mark.line;
    bool done = false;
    const char *text;
    switch (event.type) {
    case YAML_SCALAR_EVENT:
        if (!(text = scalar_text(reader, &event))) {
            fail_at(reader, line, arena_printf(reader->arena, "%s: holds a NUL character", key).at);
            break;
        }
        struct setting_entry *entry = add_entry(reader, key, line);
        entry->quoted = event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        entry->empty = is_null(&event);
        entry->value = text;
        done = true;
        break;
    case YAML_SEQUENCE_START_EVENT:
        done = read_sequence(reader, key, line);
        break;
    case YAML_MAPPING_START_EVENT:
        if (depth >= NESTING_MAX)
            fail_at(reader, line, arena_printf(reader->arena, "%s: nested too deep", key).at);
        else
            done = read_mapping(reader, key, depth + 1);
        break;
    default:
        fail_at(reader, line, arena_printf(reader->arena, "%s: aliases are not supported", key).at);
    }
    yaml_event_delete(&event);
    return done;
}

/* After "{": keys and values up to "}". */
static bool read_mapping(struct reader *reader, const char *prefix, int depth)
{
    for (;;) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            return false;
        yaml_event_type_t type = event.type;
        size_t line = event.start_mark.line;
        const char *name = type == YAML_SCALAR_EVENT ? scalar_text(reader, &event) : NULL;
        yaml_event_delete(&event);
        if (type == YAML_MAPPING_END_EVENT)
            return true;
        if (!name || !name[0])
            return fail_at(reader, line, "a key must be a word");
        struct slice key = arena_printf(reader->arena, "%s%s%s", prefix, prefix[0] ? "." : "", name);
        if (key.len > KEY_MAX)
            return fail_at(reader, line, "this key is too long");
        if (!read_value(reader, key.at, depth))
            return false;
    }
}

static bool read_stream(struct reader *reader)
{
    for (bool seen = false;;) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            return false;
        yaml_event_type_t type = event.type;
        size_t line = event.start_mark.line;
        bool null = type == YAML_SCALAR_EVENT && is_null(&event);
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            return true;
        if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_END_EVENT || null)
            continue;
        if (type == YAML_DOCUMENT_START_EVENT) {
            if (seen)
                return fail_at(reader, line, "only one document is allowed in the file");
            seen = true;
            continue;
        }
        if (type != YAML_MAPPING_START_EVENT)
            return fail_at(reader, line, "the file must hold lines of the form `key: value`");
        if (!read_mapping(reader, "", 1))
            return false;
    }
}

bool settings_yaml_read(struct arena *arena, struct slice text, struct setting_entry **entries, const char **error)
{
    struct reader reader = {.arena = arena, .tail = entries, .error = error};
    *entries = NULL;
    if (!yaml_parser_initialize(&reader.parser)) {
        *error = "0: out of memory";
        return false;
    }
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text.at, text.len);
    bool done = read_stream(&reader);
    yaml_parser_delete(&reader.parser);
    return done;
}
