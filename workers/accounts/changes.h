/* Telling others after a commit: what changed, at which position (DESIGN §8). */
#ifndef MYELIN_ACCOUNTS_CHANGES_H
#define MYELIN_ACCOUNTS_CHANGES_H

#include "lib/base/map.h"
#include "lib/kit/worker.h"

struct changes {
    struct call *call;
    struct map *known;
    struct change {
        enum stream_kind kind;
        struct slice key;
        int64_t pos;
    } * at;
    size_t count, capacity;
};
struct changes changes_in(struct call *call);
void changes_add(struct changes *changes, enum stream_kind kind, struct slice key, int64_t pos); /* equal ones count once */
void changes_publish(struct changes *changes); /* after the commit; reads the horizon once */
void change_publish(struct call *call, enum stream_kind kind, struct slice key, int64_t pos);

#endif
