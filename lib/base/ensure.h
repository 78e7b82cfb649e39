/* ensure(): impossible things end the process, in production too; the supervisor restarts it (STYLE §5). */
#ifndef MYELIN_BASE_ENSURE_H
#define MYELIN_BASE_ENSURE_H

_Noreturn void ensure_failed(const char *condition, const char *file, int line);
#define ensure(condition) ((condition) ? (void)0 : ensure_failed(#condition, __FILE__, __LINE__))

#endif
