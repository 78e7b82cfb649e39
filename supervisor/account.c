/* See account.h. */
#include "supervisor/account.h"

#include "supervisor/say.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void account_choose(struct account *out)
{
    static const char *const names[] = {"myelin", "postgres", "nobody"};
    *out = (struct account){.user = geteuid(), .group = getegid()};
    struct passwd *found = NULL;
    if (out->user != 0) {
        found = getpwuid(out->user);
    } else {
        for (size_t i = 0; !found && i < sizeof names / sizeof names[0]; i++)
            found = getpwnam(names[i]);
        if (!found || found->pw_uid == 0)
            die("PostgreSQL does not run as root, and there is no account to run as: useradd --system myelin");
        out->user = found->pw_uid;
        out->group = found->pw_gid;
    }
    if (found)
        snprintf(out->name, sizeof out->name, "%s", found->pw_name);
    else
        snprintf(out->name, sizeof out->name, "%u", (unsigned)out->user);
}

/* Permitted and inheritable: CAP_NET_BIND_SERVICE and nothing else. Where it is not ours to give (containers), we go without. */
static bool capabilities_reduce(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {{0}, {0}};
    sets[0].permitted = sets[0].inheritable = 1u << CAP_NET_BIND_SERVICE;
    return syscall(SYS_capset, &head, sets) == 0;
}

void account_keep_ports(bool keep)
{
    if (keep)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0);
    else
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

void account_become(const struct account *account)
{
    if (geteuid() != 0)
        return;
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (setgroups(1, &account->group) != 0 || setresgid(account->group, account->group, account->group) != 0 ||
        setresuid(account->user, account->user, account->user) != 0)
        die("cannot become %s: %s", account->name, strerror(errno));
    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    if (!capabilities_reduce()) {
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[2] = {{0}, {0}};
        syscall(SYS_capset, &head, none);
    }
    if (setuid(0) == 0)
        die("still root after becoming %s", account->name);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* /proc/self is ours again */
}
