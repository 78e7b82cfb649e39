/* Where servers are, remembered for a few minutes so that a transaction does not cost a question to `discovery`. Any thread. */
#ifndef MYELIN_SENDER_ADDRESS_BOOK_H
#define MYELIN_SENDER_ADDRESS_BOOK_H

#include "lib/kit/call.h"

enum { ADDRESSES_MAX = 8 };

struct address_entry {
    char addresses[ADDRESSES_MAX][64]; /* numeric, in the order to try */
    int ports[ADDRESSES_MAX];
    size_t count;
    char host_header[272], certificate_name[264];
    int64_t valid_until_ms; /* Unix ms */
};

void address_book_start(void);
/* refresh: past our memory and discovery's. *remembered: the answer is not from now. */
enum fault address_book_get(struct call *call, struct slice server, bool refresh, struct address_entry *out, bool *remembered);
bool address_entry_same(const struct address_entry *a, const struct address_entry *b);

#endif
