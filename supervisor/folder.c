/* See folder.h. */
#include "supervisor/folder.h"

#include "lib/base/base64.h"
#include "supervisor/say.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SOCKET_FOLDER_MAX = 60 }; /* + "/run/federation-0123456789abcdef.publish" stays below 108 */

static struct account new_owner; /* nftw has no context */

static int give_away(const char *path, const struct stat *facts, int type, struct FTW *position)
{
    if (facts->st_uid != new_owner.user && lchown(path, new_owner.user, new_owner.group) != 0)
        die("cannot give %s to %s: %s", path, new_owner.name, strerror(errno));
    return 0;
}

/* Our own folders wholly, files of the first level, and nothing else: --data may point at somebody's home by mistake. */
static void give_folder(struct arena *arena, const char *path, const struct account *account)
{
    static const char *const ours[] = {"postgres", "run", "media", "tls"};
    new_owner = *account;
    if (lchown(path, account->user, account->group) != 0)
        die("cannot give %s to %s: %s", path, account->name, strerror(errno));
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        const char *file = arena_printf(arena, "%s/%s", path, entry->d_name).at;
        struct stat facts;
        if (lstat(file, &facts) == 0 && (S_ISREG(facts.st_mode) || S_ISLNK(facts.st_mode)) && facts.st_uid != account->user)
            give_away(file, &facts, FTW_F, NULL);
    }
    if (folder)
        closedir(folder);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        const char *inner = arena_printf(arena, "%s/%s", path, ours[i]).at;
        struct stat facts;
        if (lstat(inner, &facts) == 0 && S_ISDIR(facts.st_mode) && facts.st_uid != account->user)
            nftw(inner, give_away, 16, FTW_PHYS);
    }
}

static void make_parents(struct arena *arena, const char *path)
{
    char *copy = arena_cstr(arena, slice_from_cstr(path));
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(copy, 0755);
        *slash = '/';
    }
}

void folder_prepare(struct arena *arena, const char *given, const struct account *account, struct folder *out)
{
    char real[PATH_MAX];
    make_parents(arena, given);
    bool made = mkdir(given, 0700) == 0;
    if (!made && errno != EEXIST)
        die("cannot make the data folder %s: %s", given, strerror(errno));
    if (!realpath(given, real))
        die("the data folder %s: %s", given, strerror(errno));
    if (strcmp(real, "/") == 0)
        die("/ cannot be the data folder");
    *out = (struct folder){.real = arena_printf(arena, "%s", real).at, .lock = -1};
    out->path = out->real;
    if (geteuid() == 0)
        give_folder(arena, out->real, account);
}

/* A folder with a long name gets a short one in /tmp, inside a folder that only we can write. Everything, PostgreSQL and the
 * workers too, then uses the short name: the limit of 107 bytes is on the name that is given, not on where it leads. */
static void make_alias(struct arena *arena, struct folder *folder)
{
    char name[] = "/tmp/myelin.XXXXXX", old[PATH_MAX];
    const char *note = arena_printf(arena, "%s/run/alias", folder->real).at;
    ssize_t len = readlink(note, old, sizeof old - 1);
    if (len > 0) {
        old[len] = '\0';
        if (strncmp(old, "/tmp/myelin.", 12) == 0) { /* left by one that was killed */
            unlink(arena_printf(arena, "%s/d", old).at);
            rmdir(old);
        }
        unlink(note);
    }
    if (strlen(folder->real) <= SOCKET_FOLDER_MAX && !strpbrk(folder->real, " \"'\\,%"))
        return;
    if (!mkdtemp(name))
        die("cannot make a folder in /tmp: %s", strerror(errno));
    folder->alias = arena_printf(arena, "%s", name).at;
    folder->path = arena_printf(arena, "%s/d", name).at;
    if (symlink(folder->real, folder->path) != 0 || symlink(name, note) != 0)
        die("cannot make a short name for %s: %s", folder->real, strerror(errno));
}

static void remove_sockets(struct arena *arena, const char *path)
{
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        const char *file = arena_printf(arena, "%s/%s", path, entry->d_name).at;
        struct stat facts;
        if (strncmp(entry->d_name, ".s.PGSQL", 8) != 0 && lstat(file, &facts) == 0 && S_ISSOCK(facts.st_mode))
            unlink(file);
    }
    if (folder)
        closedir(folder);
}

void folder_claim(struct arena *arena, struct folder *folder, const struct account *account)
{
    if (access(folder->real, R_OK | W_OK | X_OK) != 0)
        die("the account %s cannot use %s (%s): every folder above it must let it pass; or choose another with --data",
            account->name, folder->real, strerror(errno));
    umask(077);
    const char *path = arena_printf(arena, "%s/lock", folder->real).at;
    folder->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (folder->lock < 0)
        die("%s: %s", path, strerror(errno));
    if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0) {
        char owner[32] = "";
        ssize_t len = pread(folder->lock, owner, sizeof owner - 1, 0);
        die("the data folder %s is in use by process %.*s", folder->real, len > 0 ? (int)strcspn(owner, "\n") : 0, owner);
    }
    if (ftruncate(folder->lock, 0) != 0 || dprintf(folder->lock, "%d\n", (int)getpid()) < 0)
        die("cannot write %s: %s", path, strerror(errno));
    const char *run = arena_printf(arena, "%s/run", folder->real).at;
    if (mkdir(run, 0700) != 0 && errno != EEXIST)
        die("cannot make %s: %s", run, strerror(errno));
    remove_sockets(arena, run);
    make_alias(arena, folder);
}

void folder_leave(const struct folder *folder)
{
    char name[PATH_MAX];
    if (!folder->alias)
        return;
    snprintf(name, sizeof name, "%s/run/alias", folder->real);
    unlink(name);
    unlink(folder->path);
    rmdir(folder->alias);
}

const char *folder_tool_socket(struct arena *arena, const char *given)
{
    char real[PATH_MAX], alias[PATH_MAX];
    if (!realpath(given, real))
        return NULL;
    ssize_t len = readlink(arena_printf(arena, "%s/run/alias", real).at, alias, sizeof alias - 1);
    if (len <= 0)
        return arena_printf(arena, "%s/run/supervisor.sock", real).at;
    return arena_printf(arena, "%.*s/d/run/supervisor.sock", (int)len, alias).at;
}

bool folder_write_file(struct arena *arena, const char *path, struct slice text, unsigned mode)
{
    const char *beside = arena_printf(arena, "%s.new", path).at;
    int file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, (mode_t)mode);
    if (file < 0)
        return false;
    fchmod(file, (mode_t)mode);
    bool written = write(file, text.at, text.len) == (ssize_t)text.len && fsync(file) == 0;
    return close(file) == 0 && written && rename(beside, path) == 0;
}

void folder_write_config(struct arena *arena, const struct folder *folder, const struct settings *settings, const char *config)
{
    const char *path = config ? config : arena_printf(arena, "%s/config.yaml", folder->real).at;
    FILE *there = fopen(path, "ae");
    if (config && !there)
        return; /* not ours to write; settings_load says when it cannot be read either */
    if (!there)
        die("cannot write %s: %s", path, strerror(errno));
    if (ftell(there) == 0)
        fputs("# Myelin's configuration. Every key is described in docs/configuration.md (`myelin config` prints it).\n", there);
    if (settings->server_name[0])
        fprintf(there, "server_name: \"%s\"\n", settings->server_name);
    if (fclose(there) != 0)
        die("cannot write %s: %s", path, strerror(errno));
}

static const char *signing_key_path(struct arena *arena, const struct folder *folder)
{
    return arena_printf(arena, "%s/signing.key", folder->real).at;
}

bool folder_has_signing_key(struct arena *arena, const struct folder *folder)
{
    return access(signing_key_path(arena, folder), F_OK) == 0;
}

void folder_write_signing_key(struct arena *arena, const struct folder *folder)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *path = signing_key_path(arena, folder);
    unsigned char seed[32], version[4];
    if (getrandom(seed, sizeof seed, 0) != sizeof seed || getrandom(version, sizeof version, 0) != sizeof version)
        die("no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sizeof version; i++)
        version[i] = (unsigned char)letters[version[i] % (sizeof letters - 1)];
    struct slice encoded = base64_encode(arena, slice_of(seed, sizeof seed));
    struct slice text = arena_printf(arena, "ed25519 a_%.4s %.*s\n", (const char *)version, PRI(encoded));
    if (!folder_write_file(arena, path, text, 0600))
        die("cannot write %s: %s", path, strerror(errno));
    explicit_bzero(seed, sizeof seed);
    explicit_bzero((char *)(uintptr_t)encoded.at, encoded.len);
    explicit_bzero((char *)(uintptr_t)text.at, text.len);
}

void folder_remove_signing_key(struct arena *arena, const struct folder *folder)
{
    unlink(signing_key_path(arena, folder));
}
