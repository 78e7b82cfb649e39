/* See sandbox.h. A list of what is forbidden, not of what is allowed: libpq, libcurl and the resolver with its plug-ins may do
 * tomorrow what they do not do today, but none of them will ever load a kernel module. A call whose
 * arguments do not matter costs nothing more: the kernel (5.11 and newer) keeps a bitmap of those that a filter always lets
 * through. */
#include "lib/kit/sandbox.h"

#include <errno.h>
#include <libpq-fe.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/sanitized.h"

enum { FAMILIES = 46 /* those beyond are refused as a range */ };

static const int forbidden[] = {
    /* another view of the system */
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(open_tree),
    SCMP_SYS(move_mount),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(open_by_handle_at),
    /* another account */
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setfsuid),
    SCMP_SYS(setfsgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(capset),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    /* corners of the kernel where its bugs are found */
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(vmsplice),
    /* the machine */
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(syslog),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
};

/* What a sanitizer does for its reports. */
static const int forbidden_unless_sanitized[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kcmp),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(personality),
};

static int refuse(scmp_filter_ctx filter, int number)
{
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
}

static int refuse_if(scmp_filter_ctx filter, int number, struct scmp_arg_cmp condition)
{
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 1, condition);
}

/* The kernel takes an int from the lower half of a register; a filter sees all of it, and must not be led astray by the rest. */
#define SAME_INT(argument, value) SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, 0xffffffffu, (scmp_datum_t)(value))
#define HAS_BITS(argument, bits) SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(bits), (scmp_datum_t)(bits))
#define LACKS_BITS(argument, bits) SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(bits), 0)
#define OTHER_THAN(argument, value) SCMP_CMP(argument, SCMP_CMP_NE, (scmp_datum_t)(value))

static int refuse_processes(scmp_filter_ctx filter)
{
    int failure = 0;
    for (size_t i = 0; !failure && i < sizeof forbidden_unless_sanitized / sizeof forbidden_unless_sanitized[0]; i++)
        failure = refuse(filter, forbidden_unless_sanitized[i]);
    /* Threads, but no processes. clone3 hides its flags in memory where no filter sees them: told that it does not exist, libc
     * falls back to clone. */
    if (!failure)
        failure = refuse_if(filter, SCMP_SYS(clone), LACKS_BITS(0, CLONE_THREAD));
    if (!failure)
        failure = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    /* Signals to ourselves alone. */
    if (!failure)
        failure = refuse_if(filter, SCMP_SYS(kill), OTHER_THAN(0, getpid()));
    if (!failure)
        failure = refuse_if(filter, SCMP_SYS(tgkill), OTHER_THAN(0, getpid()));
    return failure;
}

/* Memory is written or carried out, never both. */
static int refuse_written_code(scmp_filter_ctx filter)
{
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect)};
    int failure = 0;
    for (size_t i = 0; !failure && i < sizeof calls / sizeof calls[0]; i++)
        failure = refuse_if(filter, calls[i], HAS_BITS(2, PROT_WRITE | PROT_EXEC));
    return failure;
}

/* Netlink is how libc learns which address families this machine has. */
static int refuse_sockets(scmp_filter_ctx filter, bool internet)
{
    int failure = 0;
    for (int family = 0; !failure && family < FAMILIES; family++) {
        bool allowed = family == AF_UNIX || (internet && (family == AF_INET || family == AF_INET6 || family == AF_NETLINK));
        if (!allowed)
            failure = refuse_if(filter, SCMP_SYS(socket), SAME_INT(0, family));
    }
    return failure ? failure : refuse_if(filter, SCMP_SYS(socket), SCMP_CMP(0, SCMP_CMP_GE, FAMILIES));
}

static int add_rules(scmp_filter_ctx filter, bool internet)
{
    int failure = 0;
    for (size_t i = 0; !failure && i < sizeof forbidden / sizeof forbidden[0]; i++)
        failure = refuse(filter, forbidden[i]);
    if (!failure)
        failure = refuse_if(filter, SCMP_SYS(ioctl), SAME_INT(1, TIOCSTI)); /* typing into the operator's terminal */
    if (!failure)
        failure = refuse_sockets(filter, internet);
    if (!failure && !SANITIZED)
        failure = refuse_processes(filter);
    if (!failure && !SANITIZED)
        failure = refuse_written_code(filter);
    return failure;
}

/* A Unix socket: a folder's name, or no host at all. */
static bool database_is_here(const char *url)
{
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    bool here = options && !getenv("PGHOST") && !getenv("PGHOSTADDR");
    for (const PQconninfoOption *option = options; option && option->keyword; option++) {
        if (!option->val || !*option->val)
            continue;
        if (strcmp(option->keyword, "hostaddr") == 0 || strcmp(option->keyword, "service") == 0)
            here = false;
        if (strcmp(option->keyword, "host") == 0)
            here = option->val[0] == '/' && !strchr(option->val, ',');
    }
    PQconninfoFree(options);
    return here;
}

static int enter(bool internet)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    ensure(filter);
    ensure(seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0);    /* threads that run already */
    ensure(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0); /* a binary tree */
    int failure = add_rules(filter, internet);
    if (!failure)
        failure = seccomp_load(filter);
    seccomp_release(filter);
    return failure;
}

void sandbox_enter(enum service kind, const struct settings *settings)
{
    const struct service_facts *facts = service_facts(kind);
    if (!settings->sandbox)
        return;
    bool internet = (facts->reach & REACH_SERVERS) || settings->bus_listen[0] || settings->cluster_secret[0] ||
                    (*facts->db_role && !database_is_here(settings->database_url));
    int failure = enter(internet);
    if (failure) {
        log_event(LOG_WARN, "the kernel refuses the sandbox, this worker runs without", LOG_CSTR("why", strerror(-failure)));
        return;
    }
    /* In place means that this fails: anybody may leave both ids as they are. */
    ensure(setregid((gid_t)-1, (gid_t)-1) != 0 && errno == EPERM);
    log_event(LOG_DEBUG, "sandboxed", LOG_I64("internet", internet));
}
