/* The configuration, from proto/settings.def: read once from YAML and --set, then constant (SIGHUP replaces the whole). */
#ifndef MYELIN_KIT_SETTINGS_H
#define MYELIN_KIT_SETTINGS_H

#include "lib/base/arena.h"
#include "proto/service.h"

/* Members by type: const char * (TEXT, PATH, ENUM: never NULL; LIST: comma separated), bool, int64_t (INT, SIZE, DURATION). */
struct settings {
#define SETTING_TEXT const char *
#define SETTING_PATH const char *
#define SETTING_LIST const char *
#define SETTING_ENUM(values) const char *
#define SETTING_BOOL bool
#define SETTING_INT int64_t
#define SETTING_SIZE int64_t
#define SETTING_DURATION int64_t
#define SETTING(type, name, otherwise, what) SETTING_##type name;
#include "proto/settings.def"
#undef SETTING
    const char *data_folder;        /* from the command line; absolute */
    int replicas_of[SERVICE_COUNT]; /* ≥ 1 (0 switches a kind off) */
    int threads_of[SERVICE_COUNT];
    bool replicas_given[SERVICE_COUNT]; /* asked for by name: its program must be there */
};

/* Defaults, then the file (may be NULL), then key=value overrides. On failure *error names file, line, key. Strings live in the
 * arena. */
bool settings_load(struct arena *arena, const char *yaml_file, const char *const *overrides, size_t override_count,
                   struct settings *out, const char **error);
/* Handler threads when nobody says: the table's number, or three for each of the machine's cores where they wait for PostgreSQL. */
int settings_threads(enum service kind);
/* Connections of one process at most: what database_connections says, or one per handler thread and two for what runs beside. */
int settings_connections(const struct settings *settings, enum service kind);
/* All keys with their documentation, Markdown. */
struct slice settings_document(struct arena *arena);
/* As key=value lines, to hand a supervisor's settings to its children: parsed by settings_load as overrides. */
struct slice settings_dump(struct arena *arena, const struct settings *settings);

#endif
