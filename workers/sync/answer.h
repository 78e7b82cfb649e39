/* Pieces of the answer that more than one file writes. */
#ifndef MYELIN_SYNC_ANSWER_H
#define MYELIN_SYNC_ANSWER_H

#include "workers/sync/work.h"

void invite_write(const struct sync_work *work, struct json_writer *w, const struct sync_room *room); /* invites.c */
void unread_write(struct json_writer *w, const struct unread *unread, bool by_thread);                /* answer.c; NULL: nothing */
void put_event_list(struct json_writer *w, const char *key, struct slice events);

#endif
