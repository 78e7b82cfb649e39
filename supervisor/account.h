/* The unprivileged account that everything runs under. Started by root we become it before anything else is touched, so that no
 * later mistake is made with root's powers; only the right to bind ports below 1024 is kept, and handed to frontends alone. */
#ifndef MYELIN_SUPERVISOR_ACCOUNT_H
#define MYELIN_SUPERVISOR_ACCOUNT_H

#include <stdbool.h>
#include <sys/types.h>

struct account {
    uid_t user;
    gid_t group;
    char name[64];
};
void account_choose(struct account *out); /* root: myelin, postgres or nobody; else the caller */
void account_become(const struct account *account);
void account_keep_ports(bool keep); /* in a child, before exec: keep or give up the right to low ports */

#endif
