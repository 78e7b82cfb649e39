/* See spawn.h. */
#include "supervisor/spawn.h"

#include "supervisor/account.h"
#include "supervisor/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void descriptors_set(const struct spawn *spawn)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing > 0)
        dup2(nothing, STDIN_FILENO);
    if (spawn->output >= 0) {
        dup2(spawn->output, STDOUT_FILENO);
        dup2(spawn->output, STDERR_FILENO);
    } else {
        dup2(STDERR_FILENO, STDOUT_FILENO);
    }
    if (spawn->control == 3)
        fcntl(3, F_SETFD, 0);
    else if (spawn->control >= 0)
        dup2(spawn->control, 3);
    close_range(spawn->control >= 0 ? 4 : 3, ~0U, 0); /* also what our own caller left open */
}

static _Noreturn void become_program(const struct spawn *spawn, pid_t parent)
{
    sigset_t none;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, spawn->death_signal);
    if (getppid() != parent)
        _exit(1); /* it died before we could say so */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    account_keep_ports(spawn->low_ports);
    if (!confine_self(spawn->ruleset))
        _exit(126);
    descriptors_set(spawn);
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP)
            signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    setenv("MALLOC_ARENA_MAX", "2", 0); /* glibc's arenas per thread would cost a worker more than its data */
    if (spawn->folder && chdir(spawn->folder) != 0)
        _exit(126);
    execv(spawn->arguments[0], (char *const *)(uintptr_t)spawn->arguments);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", spawn->arguments[0], strerror(errno));
    _exit(127);
}

pid_t spawn_start(const struct spawn *spawn)
{
    pid_t parent = getpid(), child = fork();
    if (child == 0)
        become_program(spawn, parent);
    return child;
}

bool spawn_run(const struct spawn *spawn)
{
    int status;
    pid_t child = spawn_start(spawn);
    if (child < 0)
        return false;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
