/* Starts a program so that it cannot outlive us: it gets a signal when the supervisor dies, even by kill -9. Own process group, so
 * that Ctrl-C reaches the supervisor alone; no new privileges; only descriptors 0 to 2 and, when given, 3. */
#ifndef MYELIN_SUPERVISOR_SPAWN_H
#define MYELIN_SUPERVISOR_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

struct spawn {
    const char *const *arguments; /* program first, NULL last */
    const char *folder;           /* working folder */
    int control;                  /* becomes descriptor 3; -1: none */
    int output;                   /* becomes 1 and 2; -1: inherited */
    int death_signal;             /* sent to it when we die */
    bool low_ports;               /* may bind ports below 1024, if we may */
    int ruleset;                  /* confine.h; -1: none */
};
pid_t spawn_start(const struct spawn *spawn); /* -1 with errno when there is no process to be had */
bool spawn_run(const struct spawn *spawn);    /* start-up only: waits; true when it ended with 0 */

#endif
