/* EDUs of one destination that need not survive us, in memory: bounded, most important first, a newer one of the same type and key
 * in place of the older. Not thread safe. */
#ifndef MYELIN_SENDER_EDU_QUEUE_H
#define MYELIN_SENDER_EDU_QUEUE_H

#include "lib/base/arena.h"

/* In the order of sending. Stored in outgoing_edu.priority: never renumber. */
enum edu_priority { EDU_TO_DEVICE, EDU_DEVICE_LIST, EDU_RECEIPT, EDU_OTHER, EDU_TYPING, EDU_PRESENCE };
enum edu_priority edu_priority_of(struct slice type);

enum { EDU_QUEUE_MAX = 200, EDU_QUEUE_BYTES_MAX = 512 * 1024 };

struct edu_entry;
struct edu_queue {
    struct edu_entry *first; /* by priority, then by age */
    size_t count, bytes;
};

/* key may be absent: replaces nothing. A full queue loses its least important, oldest first, which may be this one: false then. */
bool edu_queue_put(struct edu_queue *queue, struct slice type, struct slice key, struct slice content);
/* Takes the first ones out, at most `max`, as JSON objects {"edu_type":…,"content":…} in the arena. */
size_t edu_queue_take(struct edu_queue *queue, struct arena *arena, size_t max, struct slice *out);
/* Moves the first `max` to an empty queue. */
void edu_queue_split(struct edu_queue *queue, size_t max, struct edu_queue *out);
void edu_queue_drop(struct edu_queue *queue, enum edu_priority from); /* those of this priority and less important ones */
struct slice edu_json(struct arena *arena, struct slice type, struct slice content);

#endif
