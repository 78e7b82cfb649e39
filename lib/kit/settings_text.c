/* Settings as text: units of sizes and durations, the lines handed to children, and docs/configuration.md, which is made from the
 * same table and therefore cannot be wrong about names, types and defaults. */
#include "lib/kit/settings_internal.h"

#include "lib/base/strbuf.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* A whole number and a unit; the product must fit. */
static bool parse_with_unit(struct slice text, const struct unit *units, size_t count, int64_t *out)
{
    struct slice trimmed = slice_trim(text);
    size_t digits = 0;
    while (digits < trimmed.len && trimmed.at[digits] >= '0' && trimmed.at[digits] <= '9')
        digits++;
    int64_t number;
    if (!digits || !slice_to_i64(slice_sub(trimmed, 0, digits), &number))
        return false;
    struct slice unit = slice_trim(slice_sub(trimmed, digits, trimmed.len));
    for (size_t i = 0; i < count; i++) {
        if (!slice_eq_ignoring_case(unit, slice_from_cstr(units[i].name)))
            continue;
        return !__builtin_mul_overflow(number, units[i].factor, out);
    }
    return false;
}

bool setting_parse_size(struct slice text, int64_t *bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1 << 10},
        {"kb", 1 << 10},
        {"kib", 1 << 10},
        {"m", 1 << 20},
        {"mb", 1 << 20},
        {"mib", 1 << 20},
        {"g", 1 << 30},
        {"gb", 1 << 30},
        {"gib", 1 << 30},
        {"t", INT64_C(1) << 40},
        {"tib", INT64_C(1) << 40},
    };
    int64_t made;
    if (!parse_with_unit(text, units, sizeof units / sizeof units[0], &made))
        return false;
    *bytes = made;
    return true;
}

bool setting_parse_duration(struct slice text, int64_t *ms)
{
    static const struct unit units[] = {
        {"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"min", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000},
    };
    int64_t made;
    if (!parse_with_unit(text, units, sizeof units / sizeof units[0], &made))
        return false;
    *ms = made;
    return true;
}

struct slice setting_value_text(struct arena *arena, const struct setting_key *key, const struct settings *settings)
{
    const void *member = (const char *)settings + key->offset;
    switch (key->type) {
    case TYPE_TEXT:
    case TYPE_PATH:
    case TYPE_LIST:
    case TYPE_ENUM:
        return slice_from_cstr(*(const char *const *)member);
    case TYPE_BOOL:
        return *(const bool *)member ? SLICE("true") : SLICE("false");
    case TYPE_INT:
    case TYPE_SIZE:
    case TYPE_DURATION:
        break;
    }
    return arena_printf(arena, "%lld", (long long)*(const int64_t *)member);
}

struct slice settings_dump(struct arena *arena, const struct settings *settings)
{
    struct strbuf out = strbuf_in(arena);
    for (size_t i = 0; i < setting_key_count; i++) {
        const struct setting_key *key = &setting_keys[i];
        if (strcmp(key->name, "replicas") == 0 || strcmp(key->name, "threads") == 0)
            continue; /* resolved per kind below */
        strbuf_printf(&out, "%s=%.*s\n", key->name, PRI(setting_value_text(arena, key, settings)));
    }
    for (int kind = 0; kind < SERVICE_COUNT; kind++) {
        const char *name = service_facts((enum service)kind)->name;
        strbuf_printf(&out, "replicas.%s=%d\nthreads.%s=%d\n", name, settings->replicas_of[kind], name, settings->threads_of[kind]);
    }
    return strbuf_slice(&out);
}

/* A default as people write it: 104857600 → 100MiB, 60000 → 1m. */
static struct slice readable(struct arena *arena, const struct setting_key *key)
{
    static const struct unit sizes[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}};
    static const struct unit durations[] = {{"d", 24 * 3600 * 1000}, {"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}};
    const struct unit *units = key->type == TYPE_SIZE ? sizes : durations;
    struct slice text = setting_value_text(arena, key, &setting_defaults);
    int64_t number;
    if ((key->type != TYPE_SIZE && key->type != TYPE_DURATION) || !slice_to_i64(text, &number) || number == 0)
        return text;
    for (size_t i = 0; i < (key->type == TYPE_SIZE ? 3 : 5); i++)
        if (number % units[i].factor == 0)
            return arena_printf(arena, "%lld%s", (long long)(number / units[i].factor), units[i].name);
    return text;
}

static void document_key(struct strbuf *out, const struct setting_key *key)
{
    static const char *const types[] = {"text", "path", "true/false", "number", "size", "duration", "list", "one of"};
    struct slice otherwise = readable(out->arena, key);
    strbuf_printf(out, "| `%s` | %s%s%s | ", key->name, types[key->type], key->values ? " " : "", key->values ? key->values : "");
    if (otherwise.len)
        strbuf_printf(out, "`%.*s`", PRI(otherwise));
    strbuf_add(out, SLICE(" | "));
    for (const char *c = key->what; *c; c++) {
        if (*c == '|')
            strbuf_add_char(out, '\\');
        strbuf_add_char(out, *c);
    }
    strbuf_add(out, SLICE(" |\n"));
}

struct slice settings_document(struct arena *arena)
{
    struct strbuf out = strbuf_in(arena);
    strbuf_add_cstr(
        &out,
        "# Configuration\n\n"
        "Made by `myelin config` from `proto/settings.def`; do not edit.\n\n"
        "One YAML file, `config.yaml` in the data folder unless `--config` names another. All keys are optional but\n"
        "`server_name`. `--set key=value` on the command line wins over the file. A wrong key or value is an error that names its\n"
        "line. Maps may be nested: `replicas: {events: 2}` is `replicas.events`. Sizes are written `64KiB`, `100MiB`, `2GiB`;\n"
        "durations `250ms`, `30s`, `5m`, `2h`, `7d`; relative paths start at the file's folder. SIGHUP reads the file again;\n"
        "listeners, replicas and the database take effect at the next start.\n\n"
        "| key | type | default | what it is |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < setting_key_count; i++)
        document_key(&out, &setting_keys[i]);
    strbuf_add_cstr(&out,
                    "\n## Processes\n\n"
                    "`replicas.<kind>` is how many processes of a kind run here (0: none), `threads.<kind>` how many calls each\n"
                    "works on at once; kinds that use the database have at least three per core, up to 48, unless told "
                    "otherwise.\n\n| kind | replicas | threads |\n| --- | --- | --- |\n");
    for (int kind = 0; kind < SERVICE_COUNT; kind++) {
        const struct service_facts *facts = service_facts((enum service)kind);
        strbuf_printf(&out, "| `%s` | 1 | %d |\n", facts->name, facts->threads);
    }
    return strbuf_slice(&out);
}
