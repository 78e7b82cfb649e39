/* A bounded queue between threads, first in first out: any number of pushers and poppers. Items are pointers, never NULL;
 * the queue does not own them. Full means that pushers wait, or are refused with the try and until forms: that is how
 * pressure travels back. All functions are for any thread, except destroy, which must be the last to touch the queue. */
#ifndef MYELIN_BASE_QUEUE_H
#define MYELIN_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;

struct queue *queue_create(size_t capacity); /* at least 1 */
void queue_destroy(struct queue **queue);    /* accepts NULL inside; items that were not popped are forgotten */

/* False: the queue is closed (or full, or full until the deadline), and the item is still the caller's. Deadlines are
 * points of clock_monotonic_ms(). */
bool queue_push(struct queue *queue, void *item);
bool queue_push_until(struct queue *queue, void *item, int64_t deadline_ms);
bool queue_try_push(struct queue *queue, void *item);

/* NULL: the queue is closed and empty (or nothing came before the deadline, or is there now). What was pushed before the
 * close is still handed out. */
void *queue_pop(struct queue *queue);
void *queue_pop_until(struct queue *queue, int64_t deadline_ms);
void *queue_try_pop(struct queue *queue);

void queue_close(struct queue *queue); /* wakes everybody; closing twice is fine */
bool queue_is_closed(struct queue *queue);
size_t queue_length(struct queue *queue); /* for metrics: old when you read it */

#endif
