/* See say.h. */
#include "supervisor/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool say_quiet;

void say(const char *format, ...)
{
    if (say_quiet)
        return;
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

__attribute__((format(printf, 1, 0))) static void complain(const char *format, va_list arguments)
{
    fflush(stdout);
    fputs("myelin: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void warn_person(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
}

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
    exit(1);
}
