/* Inside lib/store: rows of current_state statements as event rows. event_row.c owns the conversion. */
#ifndef MYELIN_STORE_EVENT_COLLECT_H
#define MYELIN_STORE_EVENT_COLLECT_H

#include "lib/store/event_row.h"

void current_state_collect(struct call *call, struct db_result *result, bool all, struct event_rows *out);

#endif
