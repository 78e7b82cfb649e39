/* `myelin check`: looks at everything an operator can get wrong and says what would happen. Reads only; needs no running server,
 * but asks the database of one. */
#include "supervisor/tool_check.h"

#include "lib/base/base64.h"
#include "lib/kit/database_check.h"
#include "lib/matrix/ids.h"
#include "supervisor/confine.h"
#include "supervisor/folder.h"
#include "supervisor/listeners.h"
#include "supervisor/place.h"
#include "supervisor/say.h"
#include "supervisor/tool.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int check_failures;

__attribute__((format(printf, 2, 0))) static void line(const char *mark, const char *format, va_list arguments)
{
    printf("%s ", mark);
    vprintf(format, arguments);
    putchar('\n');
}

#define CHECK_LINE(name, mark, failed) \
    void name(const char *format, ...) \
    { \
        va_list arguments; \
        va_start(arguments, format); \
        line(mark, format, arguments); \
        va_end(arguments); \
        check_failures += failed; \
    }
CHECK_LINE(check_good, " ok ", 0)
CHECK_LINE(check_note, "note", 0)
CHECK_LINE(check_bad, "BAD ", 1)

static void check_private(const char *what, const char *path)
{
    struct stat facts;
    if (stat(path, &facts) != 0)
        check_bad("%s: %s: %s", what, path, strerror(errno));
    else if (facts.st_mode & 077)
        check_bad("%s: %s can be read by others: chmod 600 it", what, path);
    else
        check_good("%s: %s, for its owner alone", what, path);
}

static void check_signing_key(struct arena *arena, const struct settings *settings)
{
    char text[4096] = "", version[128], seed[256];
    const char *path = settings->signing_key_file[0] ? settings->signing_key_file
                                                     : arena_printf(arena, "%s/signing.key", settings->data_folder).at;
    FILE *file = fopen(path, "re");
    if (!file) {
        if (errno == ENOENT && !settings->signing_key_file[0])
            check_note("signing key: %s will be made at the first start", path);
        else
            check_bad("signing key: %s: %s", path, strerror(errno));
        return;
    }
    int keys = 0, lines = 0;
    while (fgets(text, sizeof text, file) && ++lines) {
        if (sscanf(text, "ed25519 %127s %255s", version, seed) == 2 && base64_decode(arena, slice_from_cstr(seed)).len == 32)
            keys++;
        else if (text[0] != '\n' && text[0] != '#')
            check_bad("signing key: %s:%d is not `ed25519 <version> <32 bytes in base64>`", path, lines);
    }
    fclose(file);
    if (keys)
        check_private("signing key", path);
    else
        check_bad("signing key: %s holds no key", path);
}

static void check_database(struct arena *arena, const struct settings *settings)
{
    const char *problem, *url = settings->database_url;
    if (!url[0]) {
        const char *cluster = arena_printf(arena, "%s/postgres/PG_VERSION", settings->data_folder).at;
        if (!place_postgres(arena, NULL))
            check_bad("database: PostgreSQL is not installed: apt-get install postgresql");
        if (access(cluster, F_OK) != 0) {
            check_note("database: a private cluster will be made at the first start");
            return;
        }
        const char *socket = folder_tool_socket(arena, settings->data_folder);
        url = arena_printf(arena, "host=%.*s port=5432 user=myelin dbname=myelin", (int)(strrchr(socket, '/') - socket), socket).at;
        if (access(arena_printf(arena, "%s/run/.s.PGSQL.5432", settings->data_folder).at, F_OK) != 0) {
            check_note("database: the private cluster is not running");
            return;
        }
    }
    if (database_check_url(arena, url, &problem))
        check_good("database: answers and is fit for Myelin");
    else
        check_bad("database: %s", problem);
}

static void check_folder(const struct settings *settings)
{
    struct stat facts;
    if (stat(settings->data_folder, &facts) != 0)
        check_note("data folder: %s will be made at the first start", settings->data_folder);
    else if (facts.st_mode & 077)
        check_bad("data folder: others may enter %s: chmod 700 it", settings->data_folder);
    else
        check_good("data folder: %s, for its owner alone", settings->data_folder);
}

static void check_values(struct arena *arena, const struct settings *settings)
{
    const char *malformed = listeners_malformed(arena, settings), *bus = bus_listen_wrong(arena, settings);
    if (!settings->server_name[0])
        check_bad("server_name is not set");
    else if (!server_name_is_valid(slice_from_cstr(settings->server_name)))
        check_bad("server_name \"%s\" is not a valid server name", settings->server_name);
    else
        check_good("server_name: users are called @name:%s", settings->server_name);
    if (malformed)
        check_bad("%s", malformed);
    if (bus)
        check_bad("%s", bus);
    if (settings->bus_listen[0] && strlen(settings->cluster_secret) < 16)
        check_bad("bus_listen needs a cluster_secret of at least 16 characters");
    if (!settings->federation_verify)
        check_bad("federation_verify is off: anybody can pose as another server");
    if (settings->open_registration)
        check_note("open_registration is on: anyone may make users");
    if (settings->appservice_files[0])
        check_note("appservice_files has no effect yet: application services are not served by this version");
    if (!settings->rate_limits)
        check_note("rate_limits are off");
    if (strcmp(settings->password_cost, "cheap") == 0)
        check_note("password_cost is cheap: stolen hashes are soon guessed");
}

static void check_sandbox(const struct settings *settings)
{
    int landlock = confine_version();
    if (!settings->sandbox)
        check_note("sandbox is off: whoever takes over a worker can do what its account can");
    else if (landlock)
        check_good("sandbox: system calls by seccomp, files by version %d of Landlock", landlock);
    else
        check_note("sandbox: this kernel has no Landlock, so each worker can read every file of its account");
}

int tool_check(struct arena *arena, const struct options *options)
{
    char real[PATH_MAX];
    struct settings settings;
    const char *data = realpath(options->data, real) ? real : options->data;
    options_settings(arena, options, data, &settings); /* dies with file and line */
    check_good("configuration: every key and value is known");
    check_values(arena, &settings);
    check_folder(&settings);
    check_sandbox(&settings);
    check_signing_key(arena, &settings);
    check_certificate(arena, &settings);
    check_database(arena, &settings);
    if (settings.server_name[0])
        check_reachable(arena, &settings);
    printf(check_failures ? "\n%d to be mended.\n" : "\nNothing to be mended.\n", check_failures);
    return check_failures ? 1 : 0;
}
