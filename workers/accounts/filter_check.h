/* The shape of a filter (Client-Server API "Filtering"). Pure. */
#ifndef MYELIN_ACCOUNTS_FILTER_CHECK_H
#define MYELIN_ACCOUNTS_FILTER_CHECK_H

#include "lib/base/json.h"

/* NULL: fine; else what is wrong, in static storage. */
const char *filter_problem(const struct json *filter);

#endif
