/* The file is kept in memory as it is and searched by line: it is small (what is not is cut off with a warning), and the search
 * costs less than any DNS question. Containers get their neighbours' names from it, tests pin names in it. */
#include "workers/discovery/hosts_file.h"

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/address.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 256 * 1024, ADDRESSES_MAX = 8 };

struct hosts_file {
    char *path;
    pthread_mutex_t lock; /* the rest */
    struct timespec modified;
    off_t size;
    char *text;
    size_t len;
};

struct hosts_file *hosts_file_create(const char *path)
{
    struct hosts_file *file = calloc(1, sizeof *file);
    ensure(file);
    file->path = strdup(path);
    ensure(file->path);
    pthread_mutex_init(&file->lock, NULL);
    return file;
}

void hosts_file_destroy(struct hosts_file **file)
{
    if (!*file)
        return;
    pthread_mutex_destroy(&(*file)->lock);
    free((*file)->text);
    free((*file)->path);
    free(*file);
    *file = NULL;
}

static void read_again(struct hosts_file *file, const struct stat *facts)
{
    int descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
    file->len = 0;
    file->modified = facts->st_mtim;
    file->size = facts->st_size;
    if (descriptor < 0)
        return;
    size_t capacity = facts->st_size < FILE_MAX_BYTES ? (size_t)facts->st_size : FILE_MAX_BYTES;
    if ((off_t)capacity < facts->st_size)
        log_event(LOG_WARN, "the hosts file is too large; its end is not read", LOG_CSTR("path", file->path));
    free(file->text);
    file->text = malloc(capacity + 1);
    ensure(file->text);
    ssize_t got;
    while (file->len < capacity && (got = read(descriptor, file->text + file->len, capacity - file->len)) > 0)
        file->len += (size_t)got;
    close(descriptor);
}

static void refresh(struct hosts_file *file)
{
    struct stat facts;
    if (stat(file->path, &facts) != 0)
        file->len = 0;
    else if (!file->text || facts.st_size != file->size || facts.st_mtim.tv_sec != file->modified.tv_sec ||
             facts.st_mtim.tv_nsec != file->modified.tv_nsec)
        read_again(file, &facts);
}

/* The next word of the line; false at its end or at a comment. */
static bool next_word(struct slice *line, struct slice *word)
{
    size_t start = 0, end;
    while (start < line->len && (line->at[start] == ' ' || line->at[start] == '\t' || line->at[start] == '\r'))
        start++;
    for (end = start; end < line->len && !strchr(" \t\r#", line->at[end]); end++)
        ;
    *word = slice_sub(*line, start, end - start);
    *line = slice_sub(*line, end, line->len);
    return word->len > 0;
}

static bool line_names(struct slice line, struct slice name)
{
    struct slice word;
    while (next_word(&line, &word)) {
        if (slice_eq_ignoring_case(word, name))
            return true;
    }
    return false;
}

static bool contains(const struct slice *list, size_t count, struct slice address)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(list[i], address))
            return true;
    }
    return false;
}

static size_t find(struct slice text, struct slice name, bool v6, struct slice *out, size_t count)
{
    struct slice line, address;
    while (text.len && count < ADDRESSES_MAX) {
        if (!slice_cut(text, '\n', &line, &text)) {
            line = text;
            text = SLICE("");
        }
        if (next_word(&line, &address) && address_is_numeric(address) && (memchr(address.at, ':', address.len) != NULL) == v6 &&
            line_names(line, name) && !contains(out, count, address))
            out[count++] = address;
    }
    return count;
}

struct slices hosts_file_find(struct hosts_file *file, struct arena *arena, struct slice name)
{
    struct slice found[ADDRESSES_MAX], *copies = arena_new_array(arena, ADDRESSES_MAX, struct slice);
    char *bytes = arena_alloc_raw(arena, ADDRESSES_MAX * 64);
    if (name.len && name.at[name.len - 1] == '.')
        name.len--;
    pthread_mutex_lock(&file->lock);
    refresh(file);
    size_t count = find(slice_of(file->text, file->len), name, true, found, 0);
    count = find(slice_of(file->text, file->len), name, false, found, count);
    for (size_t i = 0; i < count; i++) { /* no arena under the lock: numeric addresses fit into what we have */
        memcpy(bytes, found[i].at, found[i].len);
        copies[i] = slice_of(bytes, found[i].len);
        bytes += found[i].len;
    }
    pthread_mutex_unlock(&file->lock);
    return (struct slices){copies, count};
}
