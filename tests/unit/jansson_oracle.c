/* jansson's opinion on JSON. It must not include lib/base/json.h: both define JSON_OBJECT and json_string(). The latter is
 * ours in the whole test program; jansson calls its own only from functions that are not used here. */
#include "json_oracles.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_value(FILE *out, const json_t *value);

static void write_string(FILE *out, const char *text, size_t len)
{
    putc('"', out);
    for (size_t i = 0; i < len; i++) {
        const char *letter = text[i] ? strchr("\"\"\\\\\bb\tt\nn\ff\rr", text[i]) : NULL;
        if (letter && (text[i] == '"' || text[i] == '\\' || text[i] < 0x20))
            fprintf(out, "\\%c", letter[1]);
        else if ((unsigned char)text[i] < 0x20)
            fprintf(out, "\\u%04x", text[i]);
        else
            putc(text[i], out);
    }
    putc('"', out);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_object(FILE *out, json_t *object)
{
    size_t count = json_object_size(object), i = 0;
    const char **keys = calloc(count + 1, sizeof *keys);
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
        keys[i++] = json_object_iter_key(at);
    qsort(keys, count, sizeof *keys, compare_keys);
    putc('{', out);
    for (i = 0; i < count; i++) {
        if (i)
            putc(',', out);
        write_string(out, keys[i], strlen(keys[i]));
        putc(':', out);
        write_value(out, json_object_get(object, keys[i]));
    }
    putc('}', out);
    free(keys);
}

static void write_value(FILE *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(out, (json_t *)value);
        break;
    case JSON_ARRAY:
        putc('[', out);
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i)
                putc(',', out);
            write_value(out, json_array_get(value, i));
        }
        putc(']', out);
        break;
    case JSON_STRING:
        write_string(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        fprintf(out, "%.17g", json_real_value(value));
        break;
    case JSON_TRUE:
        fputs("true", out);
        break;
    case JSON_FALSE:
        fputs("false", out);
        break;
    case JSON_NULL:
        fputs("null", out);
        break;
    }
}

char *jansson_canonical(const char *text, size_t len, size_t *canonical_len)
{
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!root)
        return NULL;
    char *canonical = NULL;
    FILE *out = open_memstream(&canonical, canonical_len);
    write_value(out, root);
    fclose(out);
    json_decref(root);
    return canonical;
}
