/* See place.h. */
#include "supervisor/place.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static const char *program_folder(struct arena *arena)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    if (len <= 0)
        return ".";
    path[len] = '\0';
    *strrchr(path, '/') = '\0';
    return arena_printf(arena, "%s", path).at;
}

const char *place_worker(struct arena *arena, enum service kind)
{
    static const char *const folders[] = {"", "/../lib/myelin"};
    const char *here = program_folder(arena);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        const char *path = arena_printf(arena, "%s%s/myelin-%s", here, folders[i], service_facts(kind)->name).at;
        if (access(path, X_OK) == 0)
            return path;
    }
    return NULL;
}

const char *place_schema(struct arena *arena, const char *given)
{
    static const char *const folders[] = {"/../share/myelin/schema", "/../../schema"};
    if (given)
        return access(given, R_OK | X_OK) == 0 ? given : NULL;
    const char *here = program_folder(arena);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        const char *path = arena_printf(arena, "%s%s", here, folders[i]).at;
        if (access(arena_printf(arena, "%s/VERSION", path).at, R_OK) == 0)
            return path;
    }
    return NULL;
}

static bool has_postgres(struct arena *arena, const char *folder)
{
    return access(arena_printf(arena, "%s/postgres", folder).at, X_OK) == 0 &&
           access(arena_printf(arena, "%s/initdb", folder).at, X_OK) == 0;
}

/* Debian keeps versions side by side in /usr/lib/postgresql/<major>/bin; elsewhere the programs are in PATH. */
const char *place_postgres(struct arena *arena, const char *version)
{
    static const char versions[] = "/usr/lib/postgresql";
    int best = 0;
    DIR *folder = opendir(versions);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        int major = atoi(entry->d_name);
        bool wanted = version ? strcmp(version, entry->d_name) == 0 : major > best;
        if (major > 0 && wanted && has_postgres(arena, arena_printf(arena, "%s/%s/bin", versions, entry->d_name).at))
            best = major;
    }
    if (folder)
        closedir(folder);
    if (best)
        return arena_printf(arena, "%s/%d/bin", versions, best).at;
    struct slice rest = slice_from_cstr(getenv("PATH")), part;
    while (rest.len) {
        if (!slice_cut(rest, ':', &part, &rest)) {
            part = rest;
            rest.len = 0;
        }
        const char *path = arena_cstr(arena, part);
        if (has_postgres(arena, path))
            return path;
    }
    return NULL;
}
