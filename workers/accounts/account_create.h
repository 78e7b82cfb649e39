/* Making an account: one row, its push rules and perhaps a display name, in one batch with whatever the caller adds. */
#ifndef MYELIN_ACCOUNTS_ACCOUNT_CREATE_H
#define MYELIN_ACCOUNTS_ACCOUNT_CREATE_H

#include "lib/kit/call.h"

struct new_account {
    struct slice user_id;
    struct slice password;    /* absent: nobody can log in with one */
    struct slice displayname; /* absent if none */
    bool is_admin, is_guest;
};
void account_add(struct call *call, struct db_batch *batch, const struct new_account *account);
/* Runs the batch. USER_IN_USE: the name is taken, also by someone who was faster. */
enum fault account_run(struct db_batch *batch);
/* Is the name free now? USER_IN_USE. */
enum fault account_is_free(struct call *call, struct slice user_id);

#endif
