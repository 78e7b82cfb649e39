/* The command line of `myelin`. Options may stand before or after the words; --name value and --name=value are the same. */
#ifndef MYELIN_SUPERVISOR_OPTIONS_H
#define MYELIN_SUPERVISOR_OPTIONS_H

#include "lib/base/arena.h"
#include "lib/kit/settings.h"

struct options {
    const char *data;     /* folder; "data" */
    const char *config;   /* NULL: config.yaml in the data folder */
    const char *schema;   /* NULL: found relative to the program */
    const char *only;     /* NULL: every kind */
    const char *password; /* user add */
    bool admin, quiet, help;
    const char **overrides; /* key=value, in order */
    size_t override_count;
    const char **words; /* what is not an option: the command first */
    size_t word_count;
};

void options_parse(struct arena *arena, int argc, char **argv, struct options *out); /* dies on a wrong option */
/* The settings as the options and the data folder's file say; dies with the error's line. data: absolute. */
void options_settings(struct arena *arena, const struct options *options, const char *data, struct settings *out);
bool options_override_given(const struct options *options, const char *key);

#endif
