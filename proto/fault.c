#include "proto/fault.h"

static const struct fault_facts facts[FAULT_COUNT] = {
#define FAULT(name, status, errcode, text, retryable) [FAULT_##name] = {#name, status, errcode, text, retryable},
#include "proto/faults.def"
#undef FAULT
};

const struct fault_facts *fault_facts(enum fault fault)
{
    unsigned index = (unsigned)fault;
    return &facts[index < FAULT_COUNT ? index : FAULT_INTERNAL];
}
