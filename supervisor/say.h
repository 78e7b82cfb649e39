/* Words for the person at the terminal. What happens while the house runs goes to the log instead. */
#ifndef MYELIN_SUPERVISOR_SAY_H
#define MYELIN_SUPERVISOR_SAY_H

#include <stdbool.h>

extern bool say_quiet;
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));           /* stdout, unless quiet */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2))); /* stderr, exit code 1 */
void warn_person(const char *format, ...) __attribute__((format(printf, 1, 2)));   /* stderr */

#endif
