/* enum fault and its table, from faults.def. 0 (FAULT_OK) is fine: `if ((f = step(…))) return f;` */
#ifndef MYELIN_PROTO_FAULT_H
#define MYELIN_PROTO_FAULT_H

#include <stdbool.h>

enum fault {
#define FAULT(name, id, status, errcode, text, retryable) FAULT_##name = id,
#include "proto/faults.def"
#undef FAULT
};
enum { FAULT_ID_END = 256 /* ids are below */ };

struct fault_facts {
    const char *name; /* "BAD_JSON" */
    int http_status;
    const char *errcode; /* "M_BAD_JSON" */
    const char *text;
    bool retryable;
};

const struct fault_facts *fault_facts(enum fault fault); /* unknown numbers (a newer peer) read as INTERNAL */
enum fault fault_from_number(unsigned number);           /* the same, for what came from another process */

#endif
