/* Parked calls: they wait for a topic or a time without a thread and without a connection (DESIGN §6).
 * A handler looks, finds nothing, and parks; what is published between its look and its park must wake it too. So the sequence is
 * taken before the handler starts, and park_add refuses when one of the topics was woken since. Any thread; the wake callback runs
 * on the waking thread, without locks held, and owns the entry from then on. */
#ifndef MYELIN_KIT_PARK_H
#define MYELIN_KIT_PARK_H

#include "lib/base/slice.h"

struct park;
struct park_topic;

struct park_entry { /* a member of what is parked; zeroed before the first use */
    int64_t until_ms;
    size_t heap_place; /* 1-based; 0: not parked */
    struct park_topic *topics;
    size_t topic_count;
    const char *woken_by; /* the topic's text; NULL when its time was over. Valid until park_forget or the next park_add */
    struct park_entry *next;
};

struct park *park_create(void (*wake)(struct park_entry *entry, void *context), void *context);
void park_destroy(struct park **park); /* must be empty */

uint64_t park_sequence(struct park *park);
/* False: one of the topics was woken after `since`; the entry is not parked, woken_by says the topic. *is_next: its time is the
 * nearest of all now, so whoever calls park_expire must be told. */
bool park_add(struct park *park, struct park_entry *entry, const struct slice *topics, size_t count, int64_t until_ms,
              uint64_t since, bool *is_next);
bool park_remove(struct park *park, struct park_entry *entry); /* true: it was parked and is the caller's now */
void park_forget(struct park_entry *entry);                    /* frees what the entry holds; it is not parked */

void park_wake(struct park *park, struct slice topic);
void park_wake_all(struct park *park);               /* woken_by: "*" */
void park_expire(struct park *park, int64_t now_ms); /* those whose time is over; INT64_MAX: everybody */
int64_t park_next_ms(struct park *park);             /* INT64_MAX: nobody waits */
size_t park_count(struct park *park);
/* Those who are parked, nearest time first at best. Under the lock: seen must be quick, and may ask for the topics' texts, with
 * commas between them, cut at size. */
void park_each(struct park *park, void (*seen)(const struct park_entry *entry, void *context), void *context);
void park_entry_topics(const struct park_entry *entry, char *out, size_t size);

#endif
