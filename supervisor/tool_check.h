/* `myelin check` in parts: each prints its lines and counts what is wrong. */
#ifndef MYELIN_SUPERVISOR_TOOL_CHECK_H
#define MYELIN_SUPERVISOR_TOOL_CHECK_H

#include "lib/base/arena.h"
#include "lib/kit/settings.h"

extern int check_failures;
void check_good(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check_bad(const char *format, ...) __attribute__((format(printf, 1, 2)));

void check_certificate(struct arena *arena, const struct settings *settings); /* tool_check_tls.c */
void check_reachable(struct arena *arena, const struct settings *settings);   /* tool_check_dns.c */

#endif
