/* Unimportant EDUs in memory; see edu_queue.h. */
#include "workers/sender/edu_queue.h"

#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/json.h"

struct edu_entry {
    struct edu_entry *next;
    enum edu_priority priority;
    size_t type_len, key_len, content_len;
    bool has_key;
    char text[]; /* type, key, content */
};

enum edu_priority edu_priority_of(struct slice type)
{
    static const struct {
        struct slice type;
        enum edu_priority priority;
    } known[] = {
        {{"m.direct_to_device", 18}, EDU_TO_DEVICE},
        {{"m.device_list_update", 20}, EDU_DEVICE_LIST},
        {{"m.signing_key_update", 20}, EDU_DEVICE_LIST},
        {{"m.receipt", 9}, EDU_RECEIPT},
        {{"m.typing", 8}, EDU_TYPING},
        {{"m.presence", 10}, EDU_PRESENCE},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (slice_eq(type, known[i].type))
            return known[i].priority;
    }
    return EDU_OTHER;
}

static struct slice entry_type(const struct edu_entry *entry)
{
    return slice_of(entry->text, entry->type_len);
}

static struct slice entry_key(const struct edu_entry *entry)
{
    return entry->has_key ? slice_of(entry->text + entry->type_len, entry->key_len) : SLICE_ABSENT;
}

static size_t entry_bytes(const struct edu_entry *entry)
{
    return sizeof *entry + entry->type_len + entry->key_len + entry->content_len;
}

static struct edu_entry *entry_create(struct slice type, struct slice key, struct slice content)
{
    struct edu_entry *entry = malloc(sizeof *entry + type.len + key.len + content.len);
    ensure(entry);
    *entry = (struct edu_entry){.priority = edu_priority_of(type),
                                .type_len = type.len,
                                .key_len = key.len,
                                .content_len = content.len,
                                .has_key = !slice_is_absent(key)};
    char *at = entry->text;
    const struct slice parts[] = {type, key, content};
    for (size_t i = 0; i < 3; i++) {
        if (parts[i].len)
            memcpy(at, parts[i].at, parts[i].len);
        at += parts[i].len;
    }
    return entry;
}

static void unlink_entry(struct edu_queue *queue, struct edu_entry **place)
{
    struct edu_entry *entry = *place;
    *place = entry->next; /* NOLINT(clang-analyzer-core.NullDereference): callers have seen that there is one */
    queue->count--;
    queue->bytes -= entry_bytes(entry);
    free(entry);
}

static void replace_older(struct edu_queue *queue, struct slice type, struct slice key)
{
    for (struct edu_entry **place = &queue->first; *place; place = &(*place)->next) {
        if ((*place)->has_key && slice_eq(entry_type(*place), type) && slice_eq(entry_key(*place), key)) {
            unlink_entry(queue, place);
            return;
        }
    }
}

/* The oldest of the least important ones. */
static struct edu_entry **least(struct edu_queue *queue)
{
    struct edu_entry **place = &queue->first, **found = place;
    for (; *place; place = &(*place)->next) {
        if ((*place)->priority != (*found)->priority)
            found = place;
    }
    return found;
}

bool edu_queue_put(struct edu_queue *queue, struct slice type, struct slice key, struct slice content)
{
    if (!slice_is_absent(key))
        replace_older(queue, type, key);
    struct edu_entry *entry = entry_create(type, key, content), **place = &queue->first;
    while (*place && (*place)->priority <= entry->priority)
        place = &(*place)->next;
    entry->next = *place;
    *place = entry;
    queue->count++;
    queue->bytes += entry_bytes(entry);
    bool kept = true;
    while (queue->count > EDU_QUEUE_MAX || queue->bytes > EDU_QUEUE_BYTES_MAX) {
        struct edu_entry **loser = least(queue);
        kept &= *loser != entry;
        unlink_entry(queue, loser);
    }
    return kept;
}

struct slice edu_json(struct arena *arena, struct slice type, struct slice content)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_raw(&w, "content", content);
    json_put_string(&w, "edu_type", type);
    json_end_object(&w);
    return json_done(&w);
}

size_t edu_queue_take(struct edu_queue *queue, struct arena *arena, size_t max, struct slice *out)
{
    size_t taken = 0;
    while (queue->first && taken < max) {
        const struct edu_entry *entry = queue->first;
        out[taken++] =
            edu_json(arena, entry_type(entry), slice_of(entry->text + entry->type_len + entry->key_len, entry->content_len));
        unlink_entry(queue, &queue->first);
    }
    return taken;
}

void edu_queue_split(struct edu_queue *queue, size_t max, struct edu_queue *out)
{
    struct edu_entry **last = &out->first;
    while (queue->first && out->count < max) {
        struct edu_entry *entry = queue->first;
        queue->first = entry->next;
        queue->count--;
        queue->bytes -= entry_bytes(entry);
        out->count++;
        out->bytes += entry_bytes(entry);
        entry->next = NULL;
        *last = entry;
        last = &entry->next;
    }
}

void edu_queue_drop(struct edu_queue *queue, enum edu_priority from)
{
    struct edu_entry **place = &queue->first;
    while (*place) {
        if ((*place)->priority >= from)
            unlink_entry(queue, place);
        else
            place = &(*place)->next;
    }
}
