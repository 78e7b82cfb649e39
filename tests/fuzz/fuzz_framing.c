/* Heads of HTTP/1 requests as h2o leaves them. A head that passes has one Host, at most one length, and never a length and chunks;
 * what follows its blank line does not matter. */
#include "frontend/framing.c"

#include "lib/base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count_of(struct slice head, struct slice wanted)
{
    struct slice line, name;
    size_t count = 0;
    slice_cut(head, '\n', &line, &head);
    while (slice_cut(head, '\n', &line, &head) && line.len && !slice_eq(line, SLICE("\r")))
        count += slice_cut(line, ':', &name, &line) && slice_eq(name, wanted);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice head = slice_of(data, size), line;
    const char *needing = framing_error(head, true), *why = framing_error(head, false);
    ensure(!why || needing == why);
    if (needing || !slice_cut(head, '\n', &line, &head))
        return 0;
    head = slice_of(data, size);
    ensure(count_of(head, SLICE("host")) == 1 && count_of(head, SLICE("transfer-encoding")) <= 1);
    ensure(!count_of(head, SLICE("transfer-encoding")) || !count_of(head, SLICE("content-length")));
    return 0;
}
