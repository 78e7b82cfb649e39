#include "proto/fault.h"

static const struct fault_facts facts[FAULT_ID_END] = {
#define FAULT(name, id, status, errcode, text, retryable) [id] = {#name, status, errcode, text, retryable},
#include "proto/faults.def"
#undef FAULT
};

enum fault fault_from_number(unsigned number)
{
    switch (number) { /* two faults with one number do not compile */
#define FAULT(name, id, status, errcode, text, retryable) \
    case id: \
        return FAULT_##name;
#include "proto/faults.def"
#undef FAULT
    default:
        return FAULT_INTERNAL;
    }
}

const struct fault_facts *fault_facts(enum fault fault)
{
    return &facts[fault_from_number((unsigned)fault)];
}
