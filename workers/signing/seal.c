/* The signer's sandbox: an allow-list of system calls. What is not on it fails with EPERM: opening and naming files, making
 * sockets and connecting them, starting programs, looking into other processes. What is on it: waiting, the descriptors that exist
 * already, memory that cannot be executed, threads, time. Workers of other kinds connect to our socket, so accepting stays allowed.
 * The price: the kit cannot remove its socket's file at the end; the supervisor sweeps the run folder. */
#include "workers/signing/signing.h"

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/sanitized.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#if SANITIZED_ADDRESS
/* The leak check looks at our threads from another process, which is just what the seal forbids. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}
#endif

static const int allowed[] = {
    /* waiting and waking */
    SCMP_SYS(futex),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(eventfd2),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(sched_yield),
    /* descriptors that are there, and those that callers' connections bring */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(shutdown),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(lseek),
    SCMP_SYS(dup),
    /* memory; protections are looked at below */
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    /* threads and signals of our own */
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(sched_setscheduler) /* ZeroMQ's threads set what they have, and end us when that fails */,
    SCMP_SYS(getrusage),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* time and chance */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
};

static void allow(scmp_filter_ctx filter, int number)
{
    ensure(seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0) == 0);
}

static void allow_if(scmp_filter_ctx filter, int number, struct scmp_arg_cmp condition)
{
    ensure(seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1, condition) == 0);
}

static void allow_calls(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        allow(filter, allowed[i]);
    allow_if(filter, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    allow_if(filter, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* Threads, but no processes. clone3 hides its flags in memory where no filter sees them: told that it does not exist, libc
     * falls back to clone. */
    allow_if(filter, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    ensure(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0);
    allow_if(filter, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())); /* abort() */
    allow_if(filter, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    allow_if(filter, SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, F_GETFL));
    allow_if(filter, SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, F_SETFL));
    allow_if(filter, SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, F_GETFD));
    allow_if(filter, SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, F_SETFD));
}

/* Secrets are in no core file and no debugger. */
static void hide_memory(void)
{
    const struct rlimit none = {0, 0};
    ensure(setrlimit(RLIMIT_CORE, &none) == 0);
    ensure(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
}

/* Sealed means that this fails, and for the right reason. */
static void verify(void)
{
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ensure(file < 0 && errno == EPERM);
}

void signing_seal(struct worker *worker)
{
    hide_memory();
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    ensure(filter);
    ensure(seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0);    /* threads that run already */
    ensure(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0); /* a binary tree: futex costs as before */
    allow_calls(filter);
    int failure = seccomp_load(filter);
    seccomp_release(filter);
    if (failure) {
        log_event(LOG_ERROR, "the kernel refuses the sandbox", LOG_CSTR("why", strerror(-failure)));
        _exit(1);
    }
    verify();
    log_event(LOG_INFO, "sealed");
}
