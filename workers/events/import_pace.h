/* How many rows the next write transaction of an import gets: as many as the last ones say will not last too long (DESIGN §8). What
 * a row costs differs between machines, and on one machine between an idle minute and a busy one, by a factor of ten; a fixed
 * number is wrong on one of them. */
#ifndef MYELIN_EVENTS_IMPORT_PACE_H
#define MYELIN_EVENTS_IMPORT_PACE_H

#include <stddef.h>
#include <stdint.h>

enum {
    IMPORT_ROWS_MIN = 50,  /* fewer hardly make it shorter: most of it is the commit then, and the import would take forever */
    IMPORT_ROWS_MAX = 250, /* how much too long a single one may get when the machine turns slow from one to the next */
    IMPORT_WRITE_LONG_US = 40000 /* rows are halved from here on: the bound is 50 ms, and the last step before was a small one */
};

struct import_pace {
    size_t rows; /* to be read by who writes */
};

void import_pace_start(struct import_pace *pace);
/* A transaction wrote so many rows and took so long. Rows become more only after as many as the pace allows: fewer prove nothing.
 * Who knows how long it took but not for how much says 0. */
void import_pace_took(struct import_pace *pace, size_t rows, int64_t took_us);

#endif
