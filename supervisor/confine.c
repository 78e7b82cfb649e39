/* See confine.h. Everything is forbidden but reading the system's own files (libc, name resolution, the authorities' certificates),
 * data/run with its sockets, and what the kind's row in proto/services.def adds. Rules are about folders where files are replaced
 * by renaming (certificates), because a rule stays with the file and not with its name. */
#include "supervisor/confine.h"

#include "lib/base/log.h"
#include "lib/base/sanitized.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <limits.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of our oldest system; a kernel that does not know them is not asked for them. */
enum {
    WITH_TRUNCATE = 3,
    WITH_SCOPES = 6,
    ALL_OF_VERSION_1 = (1 << 13) - 1,
    TRUNCATE = 1 << 14,
    SCOPE_ABSTRACT_SOCKETS = 1,
    SCOPE_SIGNALS = 2,
};
struct ruleset_attributes {
    uint64_t files, ports, scopes;
};

enum {
    READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    BIND = LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE,
    SPOOL = LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | TRUNCATE,
    DIRECTORIES_ONLY = ALL_OF_VERSION_1 & ~(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE),
};

struct walls {
    struct arena *arena;
    const char *data; /* real path of the data folder */
    int ruleset;
    uint64_t handled;
};

int confine_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version > 0 ? (int)version : 0;
}

/* What is not there needs no rule. */
static void allow(const struct walls *walls, const char *path, uint64_t access)
{
    struct stat facts;
    int place = open(path, O_PATH | O_CLOEXEC);
    if (place < 0)
        return;
    if (fstat(place, &facts) == 0 && !S_ISDIR(facts.st_mode))
        access &= ~(uint64_t)DIRECTORIES_ONLY;
    struct landlock_path_beneath_attr rule = {.allowed_access = access & walls->handled, .parent_fd = place};
    if (syscall(SYS_landlock_add_rule, walls->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
        log_event(LOG_WARN, "a file cannot be opened to workers", LOG_CSTR("path", path), LOG_CSTR("why", strerror(errno)));
    close(place);
}

static bool lies_above(const char *folder, const char *path)
{
    size_t len = strlen(folder);
    return strcmp(folder, "/") == 0 || (strncmp(folder, path, len) == 0 && (path[len] == '/' || path[len] == '\0'));
}

/* A folder without the data folder in it. Goes down the path to the data folder and no further, so PATH_MAX bounds it. */
static void allow_around(const struct walls *walls, const char *folder)
{
    if (!lies_above(folder, walls->data)) {
        allow(walls, folder, READ);
        return;
    }
    char inner[PATH_MAX];
    DIR *entries = strcmp(folder, walls->data) == 0 ? NULL : opendir(folder);
    for (struct dirent *entry; entries && (entry = readdir(entries));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            snprintf(inner, sizeof inner, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, entry->d_name) < (int)sizeof inner)
            allow_around(walls, inner);
    if (entries)
        closedir(entries);
}

/* The folder of a file, so that its successor can be read; the file alone where the folder would open our secrets. */
static void allow_beside(const struct walls *walls, const char *file)
{
    const char *slash = strrchr(file, '/');
    char folder[PATH_MAX];
    if (!slash)
        return;
    const char *given = slash == file ? "/" : arena_printf(walls->arena, "%.*s", (int)(slash - file), file).at;
    if (realpath(given, folder) && !lies_above(folder, walls->data))
        allow(walls, folder, READ);
    else
        allow(walls, file, READ);
}

/* Where the name leads, too: certificates are often links into another folder, whose files come and go. */
static void allow_file(const struct walls *walls, const char *file)
{
    char target[PATH_MAX];
    if (!file || file[0] != '/')
        return;
    allow_beside(walls, file);
    if (realpath(file, target) && strcmp(target, file) != 0)
        allow_beside(walls, target);
}

static void allow_system(const struct walls *walls)
{
    /* /proc shows a confined process nothing of others that ptrace would not. */
    static const char *const folders[] = {"/etc", "/usr", "/lib", "/lib64", "/opt", "/nix/store", "/proc", "/sys/devices/system"};
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        allow_around(walls, folders[i]);
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++)
        allow(walls, devices[i], READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
    allow_file(walls, "/etc/resolv.conf"); /* it may be kept in /run */
    allow_file(walls, "/etc/hosts");
    if (SANITIZED)
        allow_around(walls, "/");
}

/* What libpq reads for a database elsewhere: passwords, services, certificates. */
static void allow_database(const struct walls *walls, const char *url)
{
    static const char *const files[] = {"passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir"};
    static const char *const variables[] = {"PGPASSFILE", "PGSSLCERT",   "PGSSLKEY",      "PGSSLROOTCERT",
                                            "PGSSLCRL",   "PGSSLCRLDIR", "PGSERVICEFILE", "PGSYSCONFDIR"};
    static const char *const home_files[] = {".pgpass", ".pg_service.conf", ".postgresql"};
    const char *home = getenv("HOME");
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    for (const PQconninfoOption *option = options; option && option->keyword; option++)
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
            if (option->val && option->val[0] == '/' && strcmp(option->keyword, files[i]) == 0)
                allow_file(walls, option->val);
    PQconninfoFree(options);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        allow_file(walls, getenv(variables[i]));
    if (!home || !*home) {
        const struct passwd *account = getpwuid(geteuid());
        home = account ? account->pw_dir : "/";
    }
    for (size_t i = 0; i < sizeof home_files / sizeof home_files[0]; i++)
        allow(walls, arena_printf(walls->arena, "%s/%s", home, home_files[i]).at, READ);
}

static const char *file_of(const struct walls *walls, const char *given, const char *name)
{
    return given[0] ? given : arena_printf(walls->arena, "%s/%s", walls->data, name).at;
}

static void allow_reach(const struct walls *walls, const struct service_facts *facts, const struct settings *settings)
{
    const char *run = arena_printf(walls->arena, "%s/run", walls->data).at;
    allow(walls, run, facts->reach & REACH_SPOOL ? BIND | SPOOL : BIND);
    if (*facts->db_role)
        allow_database(walls, settings->database_url);
    if (facts->reach & REACH_SERVERS) {
        allow_file(walls, settings->federation_ca_file);
        allow_file(walls, getenv("SSL_CERT_FILE"));
    }
    if (facts->reach & REACH_TLS_FILES) {
        allow_file(walls, file_of(walls, settings->tls_certificate, "tls/server.crt"));
        allow_file(walls, file_of(walls, settings->tls_key, "tls/server.key"));
    }
    if (facts->reach & REACH_SIGNING_KEY) {
        const char *key = file_of(walls, settings->signing_key_file, "signing.key");
        allow(walls, key, READ);
    }
}

int confine_kind(struct arena *arena, enum service kind, const char *program, const struct settings *settings)
{
    int version = confine_version();
    if (!settings->sandbox || version == 0)
        return -1;
    struct ruleset_attributes attributes = {.files = (ALL_OF_VERSION_1 & ~LANDLOCK_ACCESS_FS_EXECUTE) |
                                                     (version >= WITH_TRUNCATE ? TRUNCATE : 0), /* programs: sandbox.c */
                                            .scopes =
                                                version >= WITH_SCOPES && !SANITIZED ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0};
    struct walls walls = {.arena = arena, .data = settings->data_folder, .handled = attributes.files};
    walls.ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (walls.ruleset < 0) {
        log_event(LOG_WARN, "the kernel refuses to confine workers", LOG_CSTR("why", strerror(errno)));
        return -1;
    }
    allow_system(&walls);
    allow_file(&walls, program);
    allow_reach(&walls, service_facts(kind), settings);
    return walls.ruleset;
}

bool confine_self(int ruleset)
{
    return ruleset < 0 || (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0);
}
