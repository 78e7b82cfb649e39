/* What is to be sent to each server, in memory: one struct destination per server that there is something to say to or about.
 *
 * Its PDUs come two ways. While it is live, hints of new events are appended to its queue. When it fails, falls behind (the
 * queue is full) or events are found that no hint told of, it owes instead: "all local events from owed_pos on", which costs no
 * memory; delivery.c reads them from the database later. Everything undelivered lies at or above undelivered_pos().
 *
 * One lock guards all of them: take it with destinations_lock(). Nothing below blocks, and nothing may be allocated from an arena
 * while it is held. A destination stays where it is while is_running or is_ready, or as long as the lock is held. */
#ifndef MYELIN_SENDER_DESTINATION_H
#define MYELIN_SENDER_DESTINATION_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/slice.h"
#include "workers/sender/backoff.h"
#include "workers/sender/edu_queue.h"
#include "workers/sender/transaction.h"

enum { QUEUE_PDUS_MAX = 256, FLIGHT_KEPT_BYTES_MAX = 256 * 1024, FLIGHT_KEPT_MS = 60 * 1000 };

struct pdu { /* shared by all destinations that it waits for */
    atomic_int references;
    int64_t nid, pos, heard_us;
    size_t len;
    char json[];
};
struct pdu *pdu_create(int64_t nid, int64_t pos, struct slice json);
struct pdu *pdu_hold(struct pdu *pdu);
void pdu_release(struct pdu *pdu);

struct flight { /* a transaction that was not answered well yet: tried again with the same id and body */
    char id[TRANSACTION_ID_BYTES];
    char *body;
    size_t len;
    int64_t made_ms;                                       /* monotonic */
    int64_t nids[TRANSACTION_PDUS_MAX], min_pos, heard_us; /* of the oldest that a hint brought; 0: none */
    size_t nid_count;
    int64_t edu_nids[TRANSACTION_EDUS_MAX]; /* rows of outgoing_edu */
    size_t edu_row_count, edu_count;
};

struct owed_list { /* what a question to the database found owed, oldest first */
    int64_t *nids, *positions;
    size_t count, at;
};

struct destination {
    struct slice server; /* its own copy */
    int slot;
    struct destination *next_ready;
    bool is_ready, is_running, is_live;
    bool is_proven; /* it answered us lately, or talked to us */
    int narrowness; /* how often its transactions were halved, since it refuses them whole: see destination_narrow */
    struct pdu **queue;
    size_t queue_count;
    int64_t owed_pos;       /* 0: nothing */
    int64_t asking_pos;     /* the database is being asked what is owed from here on; 0: it is not */
    int64_t saved_owed_pos; /* what table destination says; 0: nothing */
    struct owed_list list;
    bool has_row;       /* in table destination */
    bool has_outbox;    /* rows of outgoing_edu may wait */
    bool backoff_known; /* read from the table, or we own the slot */
    struct edu_queue edus;
    struct flight *flight;
    int64_t *last_nids; /* of a flight that landed while more is owed: not to be listed again */
    size_t last_count;
    struct backoff backoff;
    int64_t idle_until_ms;       /* monotonic: the database was away, not before */
    int64_t used_ms, told_up_ms; /* monotonic */
};

void destinations_start(void);
void destinations_lock(void);
void destinations_unlock(void);
void destinations_condition(pthread_cond_t *condition); /* makes one for destinations_wait */

/* ---- under the lock */
bool destinations_wait(pthread_cond_t *condition, int64_t timeout_ms); /* false: time is up */
struct destination *destination_get(struct slice server);              /* made when there is none; is_live */
struct destination *destination_find(struct slice server);             /* NULL */
bool destination_next(size_t *at, struct destination **out);
void destinations_evict(int64_t now_ms); /* those with nothing to say for long */
size_t destinations_count(void);

void destination_push(struct destination *destination, struct pdu *pdu); /* takes no reference of the caller's */
void destination_owe(struct destination *destination, int64_t pos);
/* The list that was asked for from `pos` on: what the queue has of it is not sent twice. Takes the arrays over (malloc). */
void destination_set_list(struct destination *destination, struct owed_list list);
void destination_skip(struct destination *destination, size_t count); /* so many of the list are no more */
void destination_landed(struct destination *destination); /* the flight was answered well: forget it and what it carried */
/* It refused the flight as such (not events of it): the next ones are half as large, at last one event, or one EDU, alone. True
 * when this one was alone already: then it is what is refused, now and for ever. */
bool destination_narrow(struct destination *destination);
void destination_give_up(struct destination *destination); /* of the flight: it counts as delivered */
size_t destination_pdus_max(const struct destination *destination);
size_t destination_edus_max(const struct destination *destination, size_t pdu_count);
/* It failed: whatever is undelivered becomes owed. */
void destination_fall_back(struct destination *destination, bool owns);
void destination_lose(struct destination *destination);         /* its slot is another worker's now */
int64_t undelivered_pos(const struct destination *destination); /* 0: nothing */
bool destination_has_work(const struct destination *destination, bool owns);
void flight_destroy(struct flight **flight);

#endif
