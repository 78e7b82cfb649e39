/* Halved when it took long, else a little more each time; see import_pace.h. How little decides how often it takes long: rows stay
 * the same on average when one in twenty does (halving undoes log 2 / log (1 + 1/32) = 22 steps). Far from there the steps are
 * large, so a quiet machine is at the most rows after a dozen transactions. */
#include "workers/events/import_pace.h"

enum { SMALL_STEP = 32, LARGE_STEP = 4, QUICK_US = IMPORT_WRITE_LONG_US / 4 };

void import_pace_start(struct import_pace *pace)
{
    pace->rows = IMPORT_ROWS_MIN;
}

void import_pace_took(struct import_pace *pace, size_t rows, int64_t took_us)
{
    if (took_us > IMPORT_WRITE_LONG_US)
        pace->rows /= 2;
    else if (rows >= pace->rows)
        pace->rows += pace->rows / (took_us < QUICK_US ? LARGE_STEP : SMALL_STEP);
    if (pace->rows < IMPORT_ROWS_MIN)
        pace->rows = IMPORT_ROWS_MIN;
    if (pace->rows > IMPORT_ROWS_MAX)
        pace->rows = IMPORT_ROWS_MAX;
}
