/* What the settings' files share: the table of keys, and what a YAML file says before anyone knows what its keys mean. */
#ifndef MYELIN_KIT_SETTINGS_INTERNAL_H
#define MYELIN_KIT_SETTINGS_INTERNAL_H

#include "lib/kit/settings.h"

enum setting_type { TYPE_TEXT, TYPE_PATH, TYPE_BOOL, TYPE_INT, TYPE_SIZE, TYPE_DURATION, TYPE_LIST, TYPE_ENUM };

struct setting_key {
    const char *name;
    enum setting_type type;
    const char *values; /* ENUM: what it may be, words with spaces between */
    size_t offset;      /* in struct settings */
    const char *what;
};
extern const struct setting_key setting_keys[];
extern const size_t setting_key_count;
extern const struct settings setting_defaults;

/* One `key: value` of the file; nested maps are joined with dots. */
struct setting_entry {
    const char *key, *value;
    bool quoted; /* text by its quotes: not a number, not a truth value */
    bool empty;  /* `key:` or `key: null` */
    bool list;   /* was a sequence; value holds the elements, comma separated */
    int line;    /* from 1 */
    struct setting_entry *next;
};
/* The entries in order, NULL for an empty text. False: *error says what and in which line. */
bool settings_yaml_read(struct arena *arena, struct slice text, struct setting_entry **entries, const char **error);

/* The file's part of settings_load, on top of what *out holds; on failure *out is in between. */
bool settings_load_text(struct arena *arena, struct slice text, const char *file, struct settings *out, const char **error);

/* "100MiB", "64k", "30s", "1h", "250ms", "12". False: not one. */
bool setting_parse_size(struct slice text, int64_t *bytes);
bool setting_parse_duration(struct slice text, int64_t *ms);

/* The value of a key as it would be written behind `key=`. */
struct slice setting_value_text(struct arena *arena, const struct setting_key *key, const struct settings *settings);

#endif
