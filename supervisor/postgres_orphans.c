/* After kill -9 of the postmaster its backends live on for a moment, and a new postmaster on the same files would destroy them.
 * PostgreSQL guards against that by the process id in postmaster.pid, which in a container is often somebody else's after a
 * restart; then it would refuse to start for ever. We look at the processes themselves: each one works in the cluster's folder.
 * Only when none is left is the stale file removed. */
#include "supervisor/postgres.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int postgres_orphans(const char *cluster, int signal)
{
    char folder[PATH_MAX], link[64], real[PATH_MAX];
    int found = 0;
    if (!realpath(cluster, folder))
        return 0;
    DIR *processes = opendir("/proc");
    for (struct dirent *entry; processes && (entry = readdir(processes));) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        if (pid <= 1 || pid == getpid())
            continue;
        snprintf(link, sizeof link, "/proc/%d/cwd", (int)pid);
        ssize_t len = readlink(link, real, sizeof real - 1);
        if (len <= 0)
            continue;
        real[len] = '\0';
        if (strcmp(real, folder) != 0)
            continue;
        found++;
        if (signal)
            kill(pid, signal);
    }
    if (processes)
        closedir(processes);
    return found;
}
