/* Reads the schema folder: NNNN_name.sql without gaps, with checksums and what their first lines say. */
#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/kit/migrate_parts.h"

enum { NUMBER_DIGITS = 4 };

enum migrate_result migrate_read_file(struct migrate *migrate, const char *name, struct slice *out)
{
    const char *path = arena_printf(migrate->arena, "%s/%s", migrate->folder, name).at;
    FILE *file = fopen(path, "re");
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size < 0) {
        int error = errno;
        if (file)
            fclose(file);
        return migrate_fail(migrate, MIGRATE_BAD_FILES, "%s: %s", path, strerror(error));
    }
    rewind(file);
    char *text = arena_alloc(migrate->arena, (size_t)size + 1);
    size_t got = fread(text, 1, (size_t)size, file);
    fclose(file);
    *out = slice_of(text, got);
    return MIGRATE_DONE;
}

/* The comment lines before the first statement. */
static void read_marks(struct migrate_file *file)
{
    struct slice rest = file->sql, line;
    file->is_transaction = true;
    for (bool is_first = true; slice_cut(rest, '\n', &line, &rest); is_first = false) {
        const struct slice compatible = SLICE("-- oldest compatible:");
        int64_t version;
        if (!slice_starts_with(line, SLICE("--")))
            return;
        if (is_first && slice_eq(slice_trim(line), SLICE("-- no transaction")))
            file->is_transaction = false;
        if (slice_starts_with(line, compatible) && slice_to_i64(slice_trim(slice_sub(line, compatible.len, SIZE_MAX)), &version))
            file->oldest_compatible = (int)version;
    }
}

static int is_migration(const struct dirent *entry)
{
    const char *name = entry->d_name;
    size_t length = strlen(name);
    return strspn(name, "0123456789") == NUMBER_DIGITS && name[NUMBER_DIGITS] == '_' && length > 4 &&
           strcmp(name + length - 4, ".sql") == 0;
}

static enum migrate_result read_migrations(struct migrate *migrate, struct dirent **entries)
{
    for (int i = 0; i < migrate->count; i++) {
        struct migrate_file *file = &migrate->files[i];
        file->name = arena_printf(migrate->arena, "%s", entries[i]->d_name).at;
        file->version = atoi(file->name);
        if (file->version != i + 1)
            return migrate_fail(migrate, MIGRATE_BAD_FILES, "%s: expected %04d_….sql, found %s", migrate->folder, i + 1,
                                file->name);
        enum migrate_result result = migrate_read_file(migrate, file->name, &file->sql);
        if (result)
            return result;
        crypto_hash_sha256(file->checksum, (const unsigned char *)file->sql.at, file->sql.len);
        read_marks(file);
    }
    return MIGRATE_DONE;
}

enum migrate_result migrate_read_folder(struct migrate *migrate)
{
    struct dirent **entries;
    int count = scandir(migrate->folder, &entries, is_migration, alphasort);
    if (count < 0)
        return migrate_fail(migrate, MIGRATE_BAD_FILES, "%s: %s", migrate->folder, strerror(errno));
    migrate->count = count;
    migrate->files = arena_new_array(migrate->arena, (size_t)count, struct migrate_file);
    enum migrate_result result = read_migrations(migrate, entries);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    if (!result && count == 0)
        return migrate_fail(migrate, MIGRATE_BAD_FILES, "%s: no NNNN_name.sql files", migrate->folder);
    return result;
}
