/* See options.h. */
#include "supervisor/options.h"

#include "supervisor/say.h"

#include <stdio.h>
#include <unistd.h>

struct row {
    const char *name;
    size_t offset;       /* of a const char * or bool in struct options */
    bool flag;           /* takes no value */
    const char *setting; /* a shorthand of --set <setting>=value instead */
};

static const struct row rows[] = {
    {"--data", offsetof(struct options, data)},
    {"--config", offsetof(struct options, config)},
    {"--schema", offsetof(struct options, schema)},
    {"--only", offsetof(struct options, only)},
    {"--password", offsetof(struct options, password)},
    {"--admin", offsetof(struct options, admin), .flag = true},
    {"--quiet", offsetof(struct options, quiet), .flag = true},
    {"--help", offsetof(struct options, help), .flag = true},
    {"-h", offsetof(struct options, help), .flag = true},
    {"--server-name", .setting = "server_name"},
    {"--client-listen", .setting = "client_listen"},
    {"--federation-listen", .setting = "federation_listen"},
    {"--set", .setting = ""},
};

static const struct row *find_row(struct slice name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (slice_eq(name, slice_from_cstr(rows[i].name)))
            return &rows[i];
    return NULL;
}

static void take_option(struct arena *arena, struct options *out, const struct row *row, const char *value)
{
    if (row->flag)
        *(bool *)((char *)out + row->offset) = true;
    else if (!row->setting)
        *(const char **)((char *)out + row->offset) = value;
    else if (row->setting[0])
        out->overrides[out->override_count++] = arena_printf(arena, "%s=%s", row->setting, value).at;
    else
        out->overrides[out->override_count++] = value;
}

void options_parse(struct arena *arena, int argc, char **argv, struct options *out)
{
    *out = (struct options){.data = "data"};
    out->overrides = arena_new_array(arena, (size_t)argc, const char *);
    out->words = arena_new_array(arena, (size_t)argc, const char *);
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        struct slice text = slice_from_cstr(argv[i]), name = text, joined = SLICE_ABSENT;
        if (only_words || text.len < 2 || text.at[0] != '-') {
            out->words[out->word_count++] = argv[i];
            continue;
        }
        if (slice_eq(text, SLICE("--"))) {
            only_words = true;
            continue;
        }
        slice_cut(text, '=', &name, &joined);
        const struct row *row = find_row(name);
        if (!row || (row->flag && !slice_is_absent(joined)))
            die("unknown option %s; `myelin help` lists them", argv[i]);
        const char *value = slice_is_absent(joined) ? NULL : arena_cstr(arena, joined);
        if (!row->flag && !value) {
            if (++i >= argc)
                die("%s needs a value", argv[i - 1]);
            value = argv[i];
        }
        take_option(arena, out, row, value);
    }
    say_quiet = out->quiet;
}

bool options_override_given(const struct options *options, const char *key)
{
    struct slice name, value;
    for (size_t i = 0; i < options->override_count; i++)
        if (slice_cut(slice_from_cstr(options->overrides[i]), '=', &name, &value) &&
            slice_eq(slice_trim(name), slice_from_cstr(key)))
            return true;
    return false;
}

void options_settings(struct arena *arena, const struct options *options, const char *data, struct settings *out)
{
    const char *error, *file = options->config ? options->config : arena_printf(arena, "%s/config.yaml", data).at;
    if (!options->config && access(file, F_OK) != 0)
        file = NULL;
    if (!settings_load(arena, file, options->overrides, options->override_count, out, &error))
        die("%s", error);
    out->data_folder = data;
}
