/* Copies are one level deep: nodes below are shared with the original, which nobody changes. `tidy` is cleared on the way,
 * so that json_canonical() looks at the members instead of copying the source bytes; for the same reason a copy's span is
 * only a size hint. */
#include "lib/matrix/json_tree.h"

struct json *json_tree_filter(struct arena *arena, const struct json *object,
                              bool (*keep)(const struct json *member, const void *context), const void *context)
{
    struct json *copy = arena_new(arena, struct json);
    struct json **link = &copy->first;
    copy->type = JSON_OBJECT;
    if (!json_is(object, JSON_OBJECT))
        return copy;
    copy->key = object->key;
    copy->span = object->span;
    json_each (member, object) {
        if (keep && !keep(member, context))
            continue;
        struct json *node = arena_new(arena, struct json);
        *node = *member;
        node->next = NULL;
        *link = node;
        link = &node->next;
        copy->count++;
    }
    return copy;
}

struct json *json_tree_copy(struct arena *arena, const struct json *object)
{
    return json_tree_filter(arena, object, NULL, NULL);
}

void json_tree_put(struct arena *arena, struct json *object, struct slice key, const struct json *value)
{
    struct json **link = &object->first;
    while (*link && !slice_eq((*link)->key, key))
        link = &(*link)->next;
    struct json *after = *link ? (*link)->next : NULL;
    object->count += *link == NULL;
    struct json *node = arena_new(arena, struct json);
    *node = *value;
    node->key = key;
    node->next = after;
    *link = node;
}

void json_tree_put_string(struct arena *arena, struct json *object, struct slice key, struct slice text)
{
    json_tree_put(arena, object, key, &(struct json){.type = JSON_STRING, .text = text});
}
