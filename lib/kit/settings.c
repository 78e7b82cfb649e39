/* The configuration: defaults, then the file, then overrides of the command line. Everything about a key comes from its row in
 * proto/settings.def; only replicas.<kind> and threads.<kind> are made from the table of services. A wrong key or value is refused
 * with its line, because a setting that silently does nothing is worse than a server that does not start. */
#include "lib/kit/settings.h"

#include "lib/kit/settings_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_TEXT TYPE_TEXT, NULL
#define KEY_PATH TYPE_PATH, NULL
#define KEY_BOOL TYPE_BOOL, NULL
#define KEY_INT TYPE_INT, NULL
#define KEY_SIZE TYPE_SIZE, NULL
#define KEY_DURATION TYPE_DURATION, NULL
#define KEY_LIST TYPE_LIST, NULL
#define KEY_ENUM(values) TYPE_ENUM, values
const struct setting_key setting_keys[] = {
#define SETTING(type, name, otherwise, what) {#name, KEY_##type, offsetof(struct settings, name), what},
#include "proto/settings.def"
#undef SETTING
};
const size_t setting_key_count = sizeof setting_keys / sizeof setting_keys[0];

const struct settings setting_defaults = {
#define SETTING(type, name, otherwise, what) .name = otherwise,
#include "proto/settings.def"
#undef SETTING
    .data_folder = "",
};

enum { SETTINGS_FILE_MAX = 1024 * 1024, REPLICAS_MAX = 256, THREADS_MAX = 1024 };
enum { THREADS_PER_CORE = 3, THREADS_BY_CORES_MAX = 48 };

/* Where a value comes from, for errors and for the folder that relative paths are meant in. */
struct origin {
    struct arena *arena;
    const char *file; /* NULL: the command line */
    int line;
    const char *folder; /* of the file; NULL: the working folder */
    const char **error;
};

static bool refuse(const struct origin *from, const char *key, const char *why)
{
    struct slice text;
    if (from->file)
        text = arena_printf(from->arena, "%s:%d: %s: %s", from->file, from->line, key, why);
    else
        text = arena_printf(from->arena, "--set %s: %s", key, why);
    *from->error = text.at;
    return false;
}

static const char *absolute_path(const struct origin *from, const char *path)
{
    char here[PATH_MAX];
    if (!path[0] || path[0] == '/')
        return path;
    const char *folder = from->folder ? from->folder : getcwd(here, sizeof here);
    return arena_printf(from->arena, "%s/%s", folder ? folder : ".", path).at;
}

static bool text_to_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (size_t i = 0; i < 3; i++) {
        bool is_yes = strcmp(text, yes[i]) == 0;
        if (is_yes || strcmp(text, no[i]) == 0) {
            *out = is_yes;
            return true;
        }
    }
    return false;
}

static bool has_control_characters(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

static bool is_one_of(const char *value, const char *values)
{
    struct slice rest = slice_from_cstr(values), word;
    while (rest.len) {
        if (!slice_cut(rest, ' ', &word, &rest)) {
            word = rest;
            rest.len = 0;
        }
        if (slice_eq(word, slice_from_cstr(value)))
            return true;
    }
    return false;
}

static bool count_for_kind(const struct origin *from, const char *key, struct slice kind_name, struct slice number,
                           struct settings *out)
{
    bool replicas = key[0] == 'r';
    enum service kind;
    int64_t count;
    if (!service_from_name(arena_cstr(from->arena, kind_name), &kind))
        return refuse(from, key, arena_printf(from->arena, "there is no kind of worker called \"%.*s\"", PRI(kind_name)).at);
    if (!slice_to_i64(number, &count) || count < (replicas ? 0 : 1) || count > (replicas ? REPLICAS_MAX : THREADS_MAX))
        return refuse(from, key, replicas ? "must be a number from 0 to 256" : "must be a number from 1 to 1024");
    if (replicas) {
        out->replicas_of[kind] = (int)count;
        out->replicas_given[kind] = true;
    } else {
        out->threads_of[kind] = (int)count;
    }
    return true;
}

/* `replicas: "events=2,sync=2"`, the one-line form of replicas.<kind>. */
static bool counts_for_kinds(const struct origin *from, const char *key, const char *value, struct settings *out)
{
    struct slice rest = slice_from_cstr(value), item, kind, number;
    while (rest.len) {
        if (!slice_cut(rest, ',', &item, &rest)) {
            item = rest;
            rest.len = 0;
        }
        item = slice_trim(item);
        if (!item.len)
            continue;
        if (!slice_cut(item, '=', &kind, &number))
            return refuse(from, key, "must be kind=N, comma separated");
        if (!count_for_kind(from, key, slice_trim(kind), slice_trim(number), out))
            return false;
    }
    return true;
}

static bool set_value(const struct origin *from, const struct setting_key *key, const char *value, bool quoted,
                      struct settings *out)
{
    void *member = (char *)out + key->offset;
    int64_t number;
    bool truth;
    if (has_control_characters(value))
        return refuse(from, key->name, "must be one line without control characters");
    switch (key->type) {
    case TYPE_TEXT:
    case TYPE_LIST:
        *(const char **)member = value;
        return true;
    case TYPE_PATH:
        *(const char **)member = absolute_path(from, value);
        return true;
    case TYPE_ENUM:
        if (!is_one_of(value, key->values))
            return refuse(from, key->name, arena_printf(from->arena, "must be one of: %s", key->values).at);
        *(const char **)member = value;
        return true;
    case TYPE_BOOL:
        if (quoted || !text_to_bool(value, &truth))
            return refuse(from, key->name, "must be true or false");
        *(bool *)member = truth;
        return true;
    case TYPE_INT:
        if (quoted || !slice_to_i64(slice_from_cstr(value), &number))
            return refuse(from, key->name, "must be a whole number");
        break;
    case TYPE_SIZE:
        if (!setting_parse_size(slice_from_cstr(value), &number))
            return refuse(from, key->name, "must be a size such as 500000, 64KiB, 100MiB or 2GiB");
        break;
    case TYPE_DURATION:
        if (!setting_parse_duration(slice_from_cstr(value), &number))
            return refuse(from, key->name, "must be a duration such as 250ms, 30s, 5m, 2h or 7d");
        break;
    }
    if (number < 0)
        return refuse(from, key->name, "must not be negative");
    *(int64_t *)member = number;
    return true;
}

static const struct setting_key *find_key(const char *name)
{
    for (size_t i = 0; i < setting_key_count; i++)
        if (strcmp(setting_keys[i].name, name) == 0)
            return &setting_keys[i];
    return NULL;
}

static bool is_per_kind(const char *name)
{
    return strncmp(name, "replicas.", 9) == 0 || strncmp(name, "threads.", 8) == 0;
}

static bool put(const struct origin *from, const char *name, const char *value, bool quoted, bool list, struct settings *out)
{
    if (is_per_kind(name))
        return count_for_kind(from, name, slice_from_cstr(strchr(name, '.') + 1), slice_from_cstr(value), out);
    const struct setting_key *key = find_key(name);
    if (!key)
        return refuse(from, name, "is not a known key (docs/configuration.md lists them)");
    if (list && key->type != TYPE_LIST)
        return refuse(from, name, "must be one value, not a list");
    if (!set_value(from, key, value, quoted, out))
        return false;
    if (strcmp(name, "replicas") == 0 || strcmp(name, "threads") == 0)
        return counts_for_kinds(from, name, value, out);
    return true;
}

static bool file_read(struct arena *arena, const char *path, struct slice *text, const char **error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (file < 0 || fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size > SETTINGS_FILE_MAX) {
        const char *why = file < 0 ? strerror(errno) : "is not a file of at most 1 MiB";
        *error = arena_printf(arena, "%s: %s", path, why).at;
        if (file >= 0)
            close(file);
        return false;
    }
    char *bytes = arena_alloc_raw(arena, (size_t)facts.st_size + 1);
    size_t have = 0;
    while (have < (size_t)facts.st_size) {
        ssize_t got = read(file, bytes + have, (size_t)facts.st_size - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    close(file);
    *text = slice_of(bytes, have);
    return true;
}

bool settings_load_text(struct arena *arena, struct slice text, const char *file, struct settings *out, const char **error)
{
    struct setting_entry *entries;
    const char *why;
    if (!settings_yaml_read(arena, text, &entries, &why)) {
        *error = arena_printf(arena, "%s:%s", file, why).at;
        return false;
    }
    struct origin from = {.arena = arena, .file = file, .error = error};
    char *real = realpath(file, NULL), *slash = real ? strrchr(real, '/') : NULL;
    if (slash)
        from.folder = arena_printf(arena, "%.*s", (int)(slash - real), real).at;
    free(real);
    for (const struct setting_entry *entry = entries; entry; entry = entry->next) {
        from.line = entry->line;
        for (const struct setting_entry *before = entries; before != entry; before = before->next)
            if (strcmp(before->key, entry->key) == 0)
                return refuse(&from, entry->key, arena_printf(arena, "was set before, in line %d", before->line).at);
        bool is_default = entry->empty && (is_per_kind(entry->key) || find_key(entry->key)); /* `key:` and nothing more */
        if (!is_default && !put(&from, entry->key, entry->value, entry->quoted, entry->list, out))
            return false;
    }
    return true;
}

int settings_threads(enum service kind)
{
    const struct service_facts *facts = service_facts(kind);
    long cores = sysconf(_SC_NPROCESSORS_ONLN), by_cores = *facts->db_role ? THREADS_PER_CORE * cores : 0;
    if (by_cores > THREADS_BY_CORES_MAX)
        by_cores = THREADS_BY_CORES_MAX;
    return by_cores > facts->threads ? (int)by_cores : facts->threads;
}

int settings_connections(const struct settings *settings, enum service kind)
{
    return settings->database_connections ? (int)settings->database_connections : settings->threads_of[kind] + 2;
}

bool settings_load(struct arena *arena, const char *yaml_file, const char *const *overrides, size_t override_count,
                   struct settings *out, const char **error)
{
    struct settings made = setting_defaults;
    for (int kind = 0; kind < SERVICE_COUNT; kind++) {
        made.replicas_of[kind] = 1;
        made.threads_of[kind] = settings_threads((enum service)kind);
    }
    struct slice text;
    if (yaml_file && (!file_read(arena, yaml_file, &text, error) || !settings_load_text(arena, text, yaml_file, &made, error)))
        return false;
    struct origin from = {.arena = arena, .error = error};
    for (size_t i = 0; i < override_count; i++) {
        struct slice key, value;
        if (!slice_cut(slice_from_cstr(overrides[i]), '=', &key, &value))
            return refuse(&from, overrides[i], "must be key=value");
        if (!put(&from, arena_cstr(arena, slice_trim(key)), arena_cstr(arena, value), false, false, &made))
            return false;
    }
    *out = made;
    return true;
}
