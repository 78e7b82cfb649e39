/* The budget of large state resolutions (DESIGN §6 "Lanes"): at most half of the handler threads work on them at a time, so that as
 * many heavy rooms as there are threads do not stop the others. Any thread. */
#ifndef MYELIN_EVENTS_HEAVY_WORK_H
#define MYELIN_EVENTS_HEAVY_WORK_H

#include "lib/kit/call.h"

void heavy_work_start(int threads);
/* Work on so many events: small ones pass, others wait for their turn, which lasts until the call's present arena is reset.
 * UNAVAILABLE: it did not come before the call's deadline. */
enum fault heavy_work_begin(struct call *call, size_t events);

#endif
