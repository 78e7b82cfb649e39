/* Writing JSON from front to back. The writer knows depth and commas, not the grammar: a key where none belongs is a bug
 * that tests find, unbalanced use is one that json_done() ends the process for. */
#include "lib/base/json.h"

#include "lib/base/ensure.h"

struct json_writer json_writer_in(struct arena *arena)
{
    return (struct json_writer){.out = strbuf_in(arena)};
}

/* A comma when something stands before this value or key; the value of a key needs none. */
static void separate(struct json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->comma[w->depth])
        strbuf_add_char(&w->out, ',');
    w->comma[w->depth] = true;
}

static void begin(struct json_writer *w, char bracket)
{
    separate(w);
    ensure(w->depth < JSON_DEPTH_MAX);
    strbuf_add_char(&w->out, bracket);
    w->comma[++w->depth] = false;
}

static void end(struct json_writer *w, char bracket)
{
    ensure(w->depth > 0 && !w->after_key);
    w->depth--;
    strbuf_add_char(&w->out, bracket);
}

void json_begin_object(struct json_writer *w)
{
    begin(w, '{');
}

void json_end_object(struct json_writer *w)
{
    end(w, '}');
}

void json_begin_array(struct json_writer *w)
{
    begin(w, '[');
}

void json_end_array(struct json_writer *w)
{
    end(w, ']');
}

void json_key(struct json_writer *w, struct slice key)
{
    ensure(w->depth > 0 && !w->after_key);
    separate(w);
    json_escape_into(&w->out, key);
    strbuf_add_char(&w->out, ':');
    w->after_key = true;
}

void json_key_cstr(struct json_writer *w, const char *key)
{
    json_key(w, slice_from_cstr(key));
}

void json_add_string(struct json_writer *w, struct slice text)
{
    if (slice_is_absent(text)) {
        json_add_null(w);
        return;
    }
    separate(w);
    json_escape_into(&w->out, text);
}

void json_add_i64(struct json_writer *w, int64_t number)
{
    separate(w);
    strbuf_add_i64(&w->out, number);
}

void json_add_bool(struct json_writer *w, bool value)
{
    json_add_raw(w, value ? SLICE("true") : SLICE("false"));
}

void json_add_null(struct json_writer *w)
{
    json_add_raw(w, SLICE("null"));
}

/* Nothing is not JSON: what is absent or empty is written as null, like an absent string. */
void json_add_raw(struct json_writer *w, struct slice raw)
{
    separate(w);
    strbuf_add(&w->out, raw.len ? raw : SLICE("null"));
}

void json_add_value(struct json_writer *w, const struct json *value)
{
    json_add_raw(w, value ? value->span : SLICE_ABSENT);
}

void json_put_string(struct json_writer *w, const char *key, struct slice text)
{
    if (slice_is_absent(text))
        return;
    json_key_cstr(w, key);
    json_add_string(w, text);
}

void json_put_cstr(struct json_writer *w, const char *key, const char *text)
{
    json_put_string(w, key, slice_from_cstr(text));
}

void json_put_i64(struct json_writer *w, const char *key, int64_t number)
{
    json_key_cstr(w, key);
    json_add_i64(w, number);
}

void json_put_bool(struct json_writer *w, const char *key, bool value)
{
    json_key_cstr(w, key);
    json_add_bool(w, value);
}

void json_put_raw(struct json_writer *w, const char *key, struct slice raw)
{
    if (slice_is_absent(raw))
        return;
    json_key_cstr(w, key);
    json_add_raw(w, raw);
}

void json_put_object(struct json_writer *w, const char *key)
{
    json_key_cstr(w, key);
    json_begin_object(w);
}

void json_put_array(struct json_writer *w, const char *key)
{
    json_key_cstr(w, key);
    json_begin_array(w);
}

struct slice json_done(struct json_writer *w)
{
    ensure(w->depth == 0 && !w->after_key && w->comma[0]);
    return strbuf_slice(&w->out);
}
